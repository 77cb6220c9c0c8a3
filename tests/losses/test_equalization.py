import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import EqualizationLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
COUNTS = [100, 10, 1]


def _batch(seed: int, n: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return logits, torch.randint(3, (n,), generator=generator)


def _definition(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """``log sum_k w_k e^{z_k} - z_y`` with the label's own weight set to one."""
    weights = weights.expand_as(logits).scatter(1, target[:, None], 1.0)
    return (weights * logits.exp()).sum(1).log() - logits.gather(1, target[:, None])[:, 0]


def test_worked_numbers() -> None:
    losses = EqualizationLoss(COUNTS, gamma=1.0, threshold=0.05, reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx([0.313262, 1.313262, 2.407606], abs=1e-6)


@given(st.integers(0, 10**6), st.sampled_from([{"gamma": 0.0, "threshold": 1.0}, {"threshold": 0.0}, {}]))
def test_without_rare_classes_or_masks_it_is_cross_entropy(seed: int, options: dict[str, float]) -> None:
    logits, target = _batch(seed)
    counts = COUNTS if options else [10, 10, 10]
    torch.testing.assert_close(
        EqualizationLoss(counts, **options)(logits, target), F.cross_entropy(logits, target)
    )


def test_a_masked_negative_has_exactly_no_gradient_and_the_label_keeps_its_own() -> None:
    logits = LOGITS.float().requires_grad_()
    EqualizationLoss(COUNTS, gamma=1.0, threshold=0.05, reduction="sum")(logits, TARGET).backward()
    assert logits.grad[:2, 2].tolist() == [0, 0]
    torch.testing.assert_close(logits.grad[2], LOGITS[2].softmax(0).float() - torch.tensor([0, 0, 1.0]))


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.5, 1.0]), st.floats(0.05, 1))
def test_measured_values_put_the_mean_in_place_of_draws(seed: int, threshold: float, gamma: float) -> None:
    logits, target = _batch(seed)
    loss = EqualizationLoss(COUNTS, gamma=gamma, threshold=threshold, reduction="none").eval()
    rare = torch.tensor([n < threshold * 111 for n in COUNTS])
    expected = _definition(logits, target, torch.where(rare, 1 - gamma, 1.0).double()[None])
    torch.testing.assert_close(loss(logits, target), expected)
    with torch.no_grad():
        assert torch.equal(loss.train()(logits, target), loss.eval()(logits, target))


@given(st.integers(0, 10**6))
def test_every_value_in_training_is_that_of_some_mask(seed: int) -> None:
    logits, target = _batch(seed)
    loss = EqualizationLoss(COUNTS, gamma=0.5, threshold=0.5, reduction="none")
    torch.manual_seed(seed)
    found = loss(logits, target)
    masks = torch.tensor([[1.0, a, b] for a in (0, 1) for b in (0, 1)]).double()
    possible = torch.stack([_definition(logits, target, mask[None]) for mask in masks])
    assert ((found - possible).abs().amin(0) < 1e-9).all()
    torch.manual_seed(seed)
    assert torch.equal(found, loss(logits, target)), "the seed decides"


def test_each_example_draws_for_itself_with_probability_gamma() -> None:
    torch.manual_seed(0)
    loss = EqualizationLoss(COUNTS, gamma=0.3, threshold=0.05, reduction="none")
    found = loss(LOGITS[:1].expand(4000, 3), torch.zeros(4000, dtype=torch.long))
    masked = (found < 0.36).double().mean().item()
    assert found.unique().numel() == 2
    assert abs(masked - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_all_rare_and_hard_logits_stay_finite(gamma: float, soft: bool) -> None:
    loss = EqualizationLoss([1, 1, 1], gamma=gamma, threshold=1.0)
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], requires_grad=True)
    target = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]]) if soft else torch.tensor([1, 0])
    for mode in (True, False):
        value = loss.train(mode)(logits, target)
        assert value.isfinite()
        assert torch.autograd.grad(value, logits)[0].isfinite().all()
    if gamma == 1:
        assert value.item() == 0, "only the label's own term is left"


@pytest.mark.parametrize("gamma", [0.4, 1.0])
def test_gradient_of_soft_targets(gamma: float) -> None:
    logits, _ = _batch(3)
    target = F.softmax(_batch(4)[0], 1)
    loss = EqualizationLoss(COUNTS, gamma=gamma, threshold=0.5).eval()
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


def test_draws_are_no_state_and_no_shift_of_the_prior() -> None:
    loss = EqualizationLoss(COUNTS, threshold=0.05)
    assert list(loss.state_dict()) == ["rare"]
    assert loss.correction().kind == "listed"


def test_bad_arguments_are_named() -> None:
    for name in ("gamma", "threshold"):
        with pytest.raises(InputError, match=f"{name} must be in"):
            EqualizationLoss(COUNTS, **{name: 1.1})
    with pytest.raises(InputError, match="class_counts must be given to EqualizationLoss"):
        EqualizationLoss()
