import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from tailgrad.checks import InputError
from tailgrad.losses import CrossEntropyLoss, FocalLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)


def _batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (12,), generator=generator)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.0, [0.407606, 1.407606, 2.407606]),
        (1.0, [0.136450, 1.063125, 2.190848]),
        (2.0, [0.045678, 0.802948, 1.993605]),
    ],
)
def test_worked_numbers(gamma: float, expected: list[float]) -> None:
    losses = FocalLoss(gamma=gamma, reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)


@given(
    st.integers(0, 10**6),
    st.sampled_from(["none", "inverse", "effective"]),
    st.sampled_from(["weights", "batch"]),
)
def test_gamma_zero_is_weighted_cross_entropy(seed: int, weights: str, normalizer: str) -> None:
    logits, target = _batch(seed)
    focal = FocalLoss([40, 9, 3, 1], gamma=0.0, weights=weights, normalizer=normalizer)
    plain = CrossEntropyLoss([40, 9, 3, 1], weights=weights, normalizer=normalizer)
    torch.testing.assert_close(focal(logits, target), plain(logits, target))


@given(st.integers(0, 10**6), st.floats(0, 5))
def test_soft_one_hot_equals_class_indices(seed: int, gamma: float) -> None:
    logits, target = _batch(seed)
    loss = FocalLoss([40, 9, 3, 1], gamma=gamma, weights="inverse")
    torch.testing.assert_close(loss(logits, F.one_hot(target, 4).double()), loss(logits, target))


@given(st.floats(0, 4), st.floats(-8, 8), st.floats(0.01, 2))
def test_decreases_as_the_true_class_gains(gamma: float, margin: float, step: float) -> None:
    logits = torch.tensor([[margin, 0.0], [margin + step, 0.0]], dtype=torch.float64)
    low, high = FocalLoss(gamma=gamma, reduction="none")(logits, torch.tensor([0, 0])).tolist()
    assert high < low


def test_class_weight_multiplies_and_stays_out_of_the_modulator() -> None:
    weights = [0.5, 3.0, 7.0]
    weighted = FocalLoss(gamma=2.0, weights=weights, reduction="none")(LOGITS, TARGET)
    plain = FocalLoss(gamma=2.0, reduction="none")(LOGITS, TARGET)
    torch.testing.assert_close(weighted, torch.tensor(weights, dtype=torch.float64) * plain)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_gradient_through_the_modulator(gamma: float) -> None:
    logits, target = _batch(0)
    loss = FocalLoss([40, 9, 3, 1], gamma=gamma, weights="inverse")
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 2.0])
def test_certain_predictions_give_finite_gradients(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0], [-200.0, 0.0, 200.0]], requires_grad=True)
    loss = FocalLoss(gamma=gamma, reduction="none")(logits, torch.tensor([0, 0]))
    loss.sum().backward()
    assert loss[0].item() == 0
    assert loss[1].item() == pytest.approx(400)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0].abs().max() < 1e-6


def test_float32_inside_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert FocalLoss()(LOGITS.bfloat16(), TARGET).dtype == torch.float32


def test_correction_and_bad_gamma() -> None:
    correction = FocalLoss([100, 10, 1], weights="inverse").correction()
    assert correction is not None
    assert correction.log_shift == pytest.approx([math.log(w) for w in (0.37, 3.7, 37.0)])
    assert FocalLoss().correction() is None
    with pytest.raises(InputError, match="gamma must be in"):
        FocalLoss(gamma=-1.0)


@given(st.integers(0, 10_000), st.floats(0, 5))
def test_two_classes_are_torchvisions_sigmoid_focal_loss(seed: int, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    score = 3 * torch.randn(8, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (8,), generator=generator)
    theirs = sigmoid_focal_loss(score, target.double(), alpha=-1, gamma=gamma)
    logits = torch.stack([torch.zeros_like(score), score], 1)
    torch.testing.assert_close(FocalLoss(gamma=gamma, reduction="none")(logits, target), theirs)
