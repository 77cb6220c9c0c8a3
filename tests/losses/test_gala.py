import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import GALALoss, frozen
from tailgrad.losses.gala import MARGINS
from tailgrad.losses.gala_accumulators import ACCUMULATIONS

COUNTS = [100, 10, 1]
AUTHORS = {"lambda1": 1.2, "lambda2": 0.9, "scale_free": False, "start": 0.0}


def _batch(seed: int, n: int = 12, k: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, k, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, k, (n,), generator=generator)


def _trained(steps: int = 8, **options: object) -> GALALoss:
    loss = GALALoss(COUNTS, **options).double()
    for seed in range(steps):
        loss(*_batch(seed))
    return loss


def _shifted(loss: GALALoss, logits: Tensor, target: Tensor, theta: Tensor) -> Tensor:
    """The margins written out as the paper and its code state them, theta standing for phi too."""
    if loss.scale_free and theta.sum():
        theta = theta / theta.mean()
    plus = loss.lambda1 * (theta + loss.floor).log()
    minus = loss.lambda2 * (theta + loss.floor).log()[target][:, None]
    shifted = logits + plus - minus
    if loss.margin == "implemented":
        return shifted
    own = F.one_hot(target, logits.shape[1]).bool()
    return torch.where(own, logits, shifted)


def _source_matrix(loss: GALALoss, shifted: Tensor, target: Tensor) -> Tensor:
    """G_t of the batch-mean cross-entropy by autograd."""
    leaf = shifted.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(leaf, target), leaf)
    return gradient.abs().T @ F.one_hot(target, shifted.shape[1]).double()


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("accumulation", ["double", "sum", "ema"])
@pytest.mark.parametrize("options", [AUTHORS, {"start": 0.0}, {"lambda1": 0.7, "momentum": 0.9}])
def test_follows_the_written_out_bookkeeping_for_40_steps(
    margin: str, accumulation: str, options: dict[str, float]
) -> None:
    loss = GALALoss(COUNTS, margin=margin, accumulation=accumulation, **options).double()
    a = s = torch.diag(loss.theta)
    for step in range(40):
        logits, target = _batch(step)
        theta = s.diagonal().clone()
        shifted = _shifted(loss, logits, target, theta)
        gradients = _source_matrix(loss, shifted, target)
        torch.testing.assert_close(loss.negatives_by_source(logits, target), gradients)
        torch.testing.assert_close(loss(logits, target), F.cross_entropy(shifted, target))
        if accumulation == "ema":
            s = loss.accumulators.momentum * s + (1 - loss.accumulators.momentum) * gradients
        else:
            a = a + gradients
            s = s + (a if accumulation == "double" else gradients)
    torch.testing.assert_close(loss.theta, s.diagonal().clone())
    if options.get("start") == 0:
        phi = s.sum(0) - s.diagonal()
        assert (phi - s.diagonal()).abs().max() < 1e-11 * s.max()


def test_double_accumulation_weighs_early_steps_most() -> None:
    loss = GALALoss(COUNTS, start=0.0, lambda1=0.0)
    expected = torch.zeros(3)
    for s in range(1, 6):
        logits, target = torch.zeros(1, 3), torch.tensor([s % 3])
        loss(logits, target)
        expected[s % 3] += (5 - s + 1) * (1 - 1 / 3)
    torch.testing.assert_close(loss.theta, expected)


def test_lambda2_has_no_effect_on_the_implemented_margin() -> None:
    batch = _batch(99)
    values = [_trained(lambda2=value)(*batch).item() for value in (0.0, 0.9, 3.0)]
    assert values == [values[0]] * 3


@given(st.floats(0, 2), st.booleans(), st.integers(0, 1000))
def test_equal_lambdas_make_both_margins_one(weight: float, scale_free: bool, seed: int) -> None:
    options = {"lambda1": weight, "lambda2": weight, "scale_free": scale_free}
    one, other = (_trained(3, margin=margin, **options) for margin in MARGINS)
    torch.testing.assert_close(one(*_batch(seed)), other(*_batch(seed)))


def test_other_lambdas_part_the_margins() -> None:
    one, other = (_trained(margin=margin, **AUTHORS) for margin in MARGINS)
    assert abs(one(*_batch(50)).item() - other(*_batch(50)).item()) > 0.1


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("scale_free", [True, False])
def test_a_common_scale_matters_to_the_printed_unnormalised_form_only(margin: str, scale_free: bool) -> None:
    loss = _trained(margin=margin, **{**AUTHORS, "scale_free": scale_free, "floor": 1e-12})
    larger = copy.deepcopy(loss)
    larger.accumulators.theta.mul_(10)
    logits, target = _batch(50)
    found = larger(logits, target)
    if scale_free or margin == "implemented":
        torch.testing.assert_close(found, loss(logits, target))
        return
    # Every negative rises by (lambda1 - lambda2) log 10.
    assert (1.2 - 0.9) * math.log(10) == pytest.approx(0.690776, abs=1e-6)
    raised = _shifted(loss, logits, target, loss.theta) + 0.690775527898
    own = F.one_hot(target, 3).bool()
    torch.testing.assert_close(found, F.cross_entropy(torch.where(own, logits, raised), target))


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("scale_free", [True, False])
def test_equal_accumulators_are_cross_entropy(margin: str, scale_free: bool) -> None:
    batch = _batch(1)
    loss = GALALoss(COUNTS, margin=margin, scale_free=scale_free, start=0.0)
    torch.testing.assert_close(loss(*batch), F.cross_entropy(*batch))


def test_accumulators_like_the_counts_are_balanced_softmax() -> None:
    logits, target = _batch(2)
    expected = F.cross_entropy(logits + torch.tensor(COUNTS).double().log(), target)
    loss = GALALoss(COUNTS, start=10.0, floor=1e-12).double()
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("margin", MARGINS)
def test_accumulators_carry_no_gradient_and_margins_lag_one_step(margin: str) -> None:
    loss = _trained(margin=margin, **AUTHORS)
    before = loss.theta.clone()
    logits, target = _batch(50)
    (gradient,) = torch.autograd.grad(loss(logits, target), logits)
    shifted = _shifted(loss, logits, target, before)
    one_hot = F.one_hot(target, 3).double()
    torch.testing.assert_close(gradient, ((shifted.softmax(1) - one_hot) / len(target)).detach())
    assert not torch.equal(before, loss.theta)
    assert not loss.theta.requires_grad


@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_accumulators_take_the_batch_mean_and_equal_micro_batches(reduction: str) -> None:
    logits, target = _batch(3)
    loss = GALALoss(COUNTS, reduction=reduction, accumulation="sum", start=0.0, lambda1=0.0).double()
    loss(logits, target)
    errors = 1 - logits.softmax(1)[torch.arange(12), target]
    expected = torch.stack([errors[target == k].sum() for k in range(3)]) / 12
    torch.testing.assert_close(loss.theta, expected.detach())
    torch.testing.assert_close(loss.negatives_by_source(logits, target).diagonal(), loss.theta)


def test_a_second_pass_counts_nothing_and_state_is_saved() -> None:
    loss, plain = GALALoss(COUNTS), GALALoss(COUNTS)
    for seed in range(3):
        logits, target = _batch(seed)
        for each in (loss, plain):
            each(logits, target)
        with frozen(loss):
            loss(logits + 1, target)
        with torch.no_grad():
            loss(logits, target)
        loss.negatives_by_source(logits, target)
    assert torch.equal(loss.theta, plain.theta)
    other = GALALoss(COUNTS)
    other.load_state_dict(loss.state_dict())
    for _ in range(2):
        assert torch.equal(loss(*_batch(9)), other(*_batch(9)))


@pytest.mark.parametrize("accumulation", ACCUMULATIONS)
@pytest.mark.parametrize("bad", [[math.nan, 0.0, 0.0], [-math.inf, 0.0, 0.0]])
def test_a_loss_that_is_not_finite_adds_nothing(accumulation: str, bad: list[float]) -> None:
    loss = _trained(accumulation=accumulation)
    before = copy.deepcopy(loss.state_dict())
    logits, target = torch.tensor([bad, [0.0] * 3]), torch.tensor([0, 1])
    for given_target in (target, F.one_hot(target, 3).float()):
        assert not loss(logits, given_target).isfinite()
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


@pytest.mark.parametrize("margin", MARGINS)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_soft_targets_share_loss_and_accumulators_between_labels(
    margin: str, share: float, seed: int
) -> None:
    logits, target = _batch(seed)
    other = target.roll(1)
    losses = [_trained(2, margin=margin, reduction="none", **AUTHORS) for _ in range(3)]
    soft = share * F.one_hot(target, 3).double() + (1 - share) * F.one_hot(other, 3).double()
    before = losses[0].accumulators.total.clone()
    mixed, first, second = (loss(logits, y) for loss, y in zip(losses, (soft, target, other), strict=True))
    torch.testing.assert_close(mixed, share * first + (1 - share) * second)
    gains = [loss.accumulators.total - before for loss in losses]
    torch.testing.assert_close(gains[0], share * gains[1] + (1 - share) * gains[2])
    losses[0].accumulators.theta.copy_(_trained(2, margin=margin, **AUTHORS).theta)
    matrix = losses[0].negatives_by_source(logits, soft)
    torch.testing.assert_close(matrix.diagonal(), gains[0])
    torch.testing.assert_close(matrix.sum(0) - matrix.diagonal(), matrix.diagonal())


def test_before_the_first_step_the_ledger_hears_of_the_shift_that_is_coming() -> None:
    found = GALALoss(COUNTS, start=0.0, lambda1=1.2).correction()
    assert found.log_shift == pytest.approx([1.2 * math.log(n / 111) for n in COUNTS])
    loss, target = (
        GALALoss(COUNTS, start=0.0, lambda1=1.2, floor=1e-9),
        torch.arange(3).repeat_interleave(torch.tensor(COUNTS)),
    )
    loss(torch.zeros(111, 3), target)  # a network that tells nothing apart
    later = torch.tensor(loss.correction().log_shift)
    torch.testing.assert_close(later - later[0], torch.tensor(found.log_shift) - found.log_shift[0])


def test_the_ledger_entry_is_the_shift_in_use() -> None:
    loss = _trained(lambda1=1.2)
    correction = loss.correction()
    assert correction is not None
    assert correction.kind == "train_shift"
    logits, target = _batch(7)
    expected = F.cross_entropy(logits + torch.tensor(correction.log_shift), target)
    torch.testing.assert_close(loss(logits, target), expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_counts": None}, "class_counts must be given to GALALoss, got None"),
        ({"class_counts": [3, 0]}, r"class_counts\[1\]=0"),
        ({"margin": "print"}, "did you mean 'printed'"),
        ({"accumulation": "twice"}, "got 'twice'"),
        ({"lambda1": -1.0}, "lambda1 .* got -1"),
        ({"lambda2": math.nan}, "lambda2 .* got nan"),
        ({"floor": 0.0}, "floor"),
        ({"momentum": 1.5}, "momentum"),
        ({"start": -1.0}, "start"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        GALALoss(**({"class_counts": COUNTS} | options))
