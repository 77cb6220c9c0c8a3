import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import LogitAdjustedLoss, VSLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
COUNTS = [100, 10, 1]


def test_worked_numbers() -> None:
    loss = VSLoss(COUNTS, reduction="none")
    assert (1 / loss.scale).tolist() == pytest.approx([1, 1.995262, 3.981072], rel=1e-6)
    assert loss(LOGITS, TARGET).tolist() == pytest.approx([0.023417, 3.824814, 6.628587], abs=1e-6)


@given(
    st.lists(st.integers(1, 10**5), min_size=3, max_size=3),
    st.floats(0, 1),
    st.floats(0, 2),
    st.booleans(),
)
def test_is_cross_entropy_of_scaled_and_shifted_logits(
    counts: list[int], gamma: float, tau: float, sampled: bool
) -> None:
    prior = [3.0, 2.0, 1.0] if sampled else None
    n = torch.tensor(counts, dtype=torch.float64)
    pi = torch.tensor(prior, dtype=torch.float64) if prior else n
    expected = F.cross_entropy(LOGITS / (n.max() / n) ** gamma + tau * pi.log(), TARGET)
    found = VSLoss(counts, gamma=gamma, tau=tau, prior=prior)(LOGITS, TARGET)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=5e-6)


def test_special_cases() -> None:
    plain = F.cross_entropy(LOGITS, TARGET)
    adjusted = LogitAdjustedLoss(COUNTS, tau=0.7)(LOGITS, TARGET)
    torch.testing.assert_close(VSLoss(COUNTS, gamma=0.0, tau=0.7)(LOGITS, TARGET), adjusted)
    torch.testing.assert_close(VSLoss(COUNTS, gamma=0.0, tau=0.0)(LOGITS, TARGET), plain)
    torch.testing.assert_close(VSLoss([9, 9, 9], gamma=0.4, tau=2.0)(LOGITS, TARGET), plain)
    # CDT: temperatures alone.
    z = [2.0, 10**-0.3, 0.0]
    cdt = VSLoss(COUNTS, tau=0.0, reduction="none")(LOGITS[:1], torch.tensor([1]))
    assert cdt.item() == pytest.approx(math.log(sum(math.exp(v) for v in z)) - z[1], rel=1e-6)


def test_correction() -> None:
    shift = VSLoss(COUNTS, tau=1.2).correction()
    assert shift.kind == "train_shift"
    assert shift.log_shift == pytest.approx([1.2 * math.log(n / 111) for n in COUNTS])
    assert VSLoss(COUNTS, tau=0.0).correction().kind == "listed"


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="class_counts must be given to VSLoss"):
        VSLoss(prior=[1.0, 2.0])
    with pytest.raises(InputError, match="gamma must be in"):
        VSLoss(COUNTS, gamma=-0.1)
    with pytest.raises(InputError, match="tau must be in"):
        VSLoss(COUNTS, tau=-0.1)
