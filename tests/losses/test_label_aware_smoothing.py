import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import LabelAwareSmoothing
from tailgrad.losses.label_aware_smoothing import SHAPES

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_concave_worked_numbers() -> None:
    expected = [0.3, 0.241412, 0.157844, 0.096049, 0.056308, 0.032021, 0.017317, 0.008472, 0.003142, 0]
    assert LabelAwareSmoothing(CIFAR10_LT).eps.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected"), [("concave", 0.4 + 0.1 / 2**0.5), ("linear", 0.45), ("convex", 0.5 - 0.1 / 2**0.5)]
)
def test_shapes_halfway(shape: str, expected: float) -> None:
    eps = LabelAwareSmoothing([21, 11, 1], head=0.5, tail=0.4, shape=shape).eps.tolist()
    assert eps == pytest.approx([0.5, expected, 0.4])


@given(st.integers(0, 10**6), st.sampled_from(SHAPES))
def test_each_class_is_smoothed_by_its_own_amount(seed: int, shape: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (6,), generator=generator)
    loss = LabelAwareSmoothing([50, 20, 5], shape=shape, reduction="none")
    for i, y in enumerate(target.tolist()):
        eps = float(loss.eps[y])
        expected = F.cross_entropy(logits[i], target[i], label_smoothing=eps)
        torch.testing.assert_close(loss(logits, target)[i], expected)


@given(st.floats(0, 1), st.sampled_from(SHAPES))
def test_one_amount_is_torchs_label_smoothing(eps: float, shape: str) -> None:
    found = LabelAwareSmoothing([100, 10, 1], head=eps, tail=eps, shape=shape)(LOGITS, TARGET)
    expected = F.cross_entropy(LOGITS, TARGET, label_smoothing=eps)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_counts_take_the_amount_of_the_tail(shape: str) -> None:
    assert LabelAwareSmoothing([7, 7, 7], tail=0.1, shape=shape).eps.tolist() == pytest.approx([0.1] * 3)
    found = LabelAwareSmoothing([7, 7, 7], shape=shape)(LOGITS, TARGET)
    torch.testing.assert_close(found, F.cross_entropy(LOGITS, TARGET))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "class_counts must be given to LabelAwareSmoothing"),
        ({"class_counts": [2, 1], "head": 0.1, "tail": 0.2}, r"head must be in \[0.2, 1\], got 0.1"),
        ({"class_counts": [2, 1], "tail": -0.1}, "tail must be in"),
        ({"class_counts": [2, 1], "shape": "concav"}, "did you mean 'concave'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelAwareSmoothing(**arguments)
