import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import ClassConditionalSmoothing, LabelAwareSmoothing
from tailgrad.losses.class_conditional_smoothing import SHAPES

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
COUNTS = [100, 10, 1]
CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_worked_amounts() -> None:
    log = [0, 0.0111, 0.0222, 0.0333, 0.0445, 0.0556, 0.0667, 0.0778, 0.0890, 0.1]
    assert ClassConditionalSmoothing(CIFAR10_LT).eps.tolist() == pytest.approx(log, abs=6e-5)
    linear = ClassConditionalSmoothing([11, 6, 1], eps_min=0.2, eps_max=0.4, shape="linear")
    assert linear.eps.tolist() == pytest.approx([0.2, 0.3, 0.4])


def test_worked_losses_alone_and_with_weights() -> None:
    plain = ClassConditionalSmoothing(COUNTS, eps_min=0.1, reduction="none")(LOGITS, TARGET)
    assert plain.tolist() == pytest.approx([0.507606, 1.407606, 2.307606], abs=1e-6)
    weighted = ClassConditionalSmoothing(COUNTS, eps_min=0.1, weights="inverse", reduction="none")
    assert weighted(LOGITS, TARGET).tolist() == pytest.approx([0.187814, 5.208142, 85.381421], rel=2e-6)


@given(st.integers(0, 10**6), st.sampled_from(SHAPES))
def test_each_class_is_smoothed_by_its_own_amount(seed: int, shape: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (6,), generator=generator)
    loss = ClassConditionalSmoothing([50, 20, 5], eps_max=0.5, shape=shape, reduction="none")
    for i, y in enumerate(target.tolist()):
        expected = F.cross_entropy(logits[i], target[i], label_smoothing=float(loss.eps[y]))
        torch.testing.assert_close(loss(logits, target)[i], expected)


@given(st.floats(0, 1), st.sampled_from(SHAPES))
def test_one_amount_is_torchs_label_smoothing(eps: float, shape: str) -> None:
    found = ClassConditionalSmoothing(COUNTS, eps_min=eps, eps_max=eps, shape=shape)(LOGITS, TARGET)
    expected = F.cross_entropy(LOGITS, TARGET, label_smoothing=eps)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_counts_take_the_least_amount(shape: str) -> None:
    loss = ClassConditionalSmoothing([7, 7, 7], eps_min=0.02, shape=shape)
    assert loss.eps.tolist() == pytest.approx([0.02] * 3)


@given(st.lists(st.integers(1, 10**5), min_size=2, max_size=9), st.sampled_from(SHAPES))
def test_goes_the_other_way_than_label_aware_smoothing(counts: list[int], shape: str) -> None:
    rarest, commonest = counts.index(min(counts)), counts.index(max(counts))
    rising = ClassConditionalSmoothing(counts, shape=shape).eps
    falling = LabelAwareSmoothing(counts).eps
    assert rising[rarest] == rising.max()
    assert rising[commonest] == rising.min() == 0
    assert falling[rarest] == falling.min() == 0
    assert falling[commonest] == falling.max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "class_counts must be given to ClassConditionalSmoothing"),
        ({"class_counts": [2, 1], "eps_min": 0.2}, r"eps_max must be in \[0.2, 1\], got 0.1"),
        ({"class_counts": [2, 1], "eps_min": -0.1}, "eps_min must be in"),
        ({"class_counts": [2, 1], "shape": "lin"}, "did you mean 'linear'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassConditionalSmoothing(**arguments)
