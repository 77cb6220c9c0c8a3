import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import BalancedSoftmaxLoss, LogitAdjustedLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
COUNTS = [100, 10, 1]


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.0, [0.407606, 1.407606, 2.407606]),
        (0.5, [0.122100, 2.273393, 4.424685]),
        (1.0, [0.037432, 3.340017, 6.642602]),
    ],
)
def test_worked_numbers(tau: float, expected: list[float]) -> None:
    losses = LogitAdjustedLoss(COUNTS, tau=tau, reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=3), st.floats(0, 3))
def test_is_cross_entropy_of_shifted_logits(counts: list[int], tau: float) -> None:
    found = LogitAdjustedLoss(counts, tau=tau)(LOGITS, TARGET)
    shifted = LOGITS + tau * torch.tensor(counts).double().log()
    torch.testing.assert_close(found, F.cross_entropy(shifted, TARGET), rtol=1e-6, atol=5e-6)
    balanced = LogitAdjustedLoss(counts)(LOGITS, TARGET)
    torch.testing.assert_close(balanced, BalancedSoftmaxLoss(counts)(LOGITS, TARGET))


@given(st.integers(1, 10**6), st.floats(0, 3))
def test_equal_counts_are_cross_entropy(count: int, tau: float) -> None:
    loss = LogitAdjustedLoss([count] * 3, tau=tau)
    torch.testing.assert_close(loss(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET))


def test_correction_scales_with_tau_and_follows_the_prior() -> None:
    full, half = (LogitAdjustedLoss(COUNTS, tau=tau).correction() for tau in (1.0, 0.5))
    assert (full.kind, half.kind) == ("train_shift", "train_shift")
    assert [2 * s for s in half.log_shift] == pytest.approx(full.log_shift)
    given = LogitAdjustedLoss(prior=[2.0, 2.0, 2.0]).correction()
    assert given.log_shift == pytest.approx([given.log_shift[0]] * 3)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="tau must be in"):
        LogitAdjustedLoss(COUNTS, tau=-1.0)
    with pytest.raises(InputError, match="class_counts must be given to LogitAdjustedLoss"):
        LogitAdjustedLoss(tau=0.0)
