"""Deferred weights (DRW), by every loss that takes weights."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.losses import (
    ClassConditionalSmoothing,
    CrossEntropyLoss,
    FocalLoss,
    LabelAwareSmoothing,
    LDAMLoss,
    class_weights,
)
from tailgrad.losses.weighting import ClassWeighting

COUNTS = [100, 10, 1]
WEIGHTED = [CrossEntropyLoss, FocalLoss, LDAMLoss, LabelAwareSmoothing, ClassConditionalSmoothing]


def _batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(9, 3, generator=generator), torch.randint(3, (9,), generator=generator)


@pytest.mark.parametrize("made", WEIGHTED)
@pytest.mark.parametrize("normalizer", ["weights", "batch"])
def test_plain_before_the_switch_and_weighted_after(made: Any, normalizer: str) -> None:
    drw = made(COUNTS, weights="effective", normalizer=normalizer, defer=160)
    plain, weighted = made(COUNTS), made(COUNTS, weights="effective", normalizer=normalizer)
    ones = made(COUNTS, weights="effective", beta=0.0, normalizer=normalizer)
    assert torch.equal(drw(*_batch()), plain(*_batch())), "without set_epoch it is the first epoch"
    for epoch, same in [(1, plain), (160, plain), (161, weighted), (200, weighted), (3, plain)]:
        drw.set_epoch(epoch)
        assert torch.equal(drw(*_batch()), same(*_batch())), epoch
        assert not torch.allclose(plain(*_batch()), weighted(*_batch()))
    torch.testing.assert_close(ones(*_batch()), plain(*_batch()))


@pytest.mark.parametrize("made", WEIGHTED)
def test_a_restart_in_the_second_phase_goes_on_with_weights(made: Any) -> None:
    first, after = (made(COUNTS, weights="inverse", defer=5) for _ in range(2))
    first.set_epoch(6)
    after.load_state_dict(first.state_dict())
    after.set_epoch(6)
    assert torch.equal(after(*_batch()), first(*_batch()))


@pytest.mark.parametrize("made", WEIGHTED)
def test_correction_is_that_of_the_last_epochs(made: Any) -> None:
    drw = made(COUNTS, weights="effective", defer=160).correction()
    assert drw.kind == "weight"
    assert drw.log_shift == pytest.approx([math.log(w) for w in class_weights(COUNTS, "effective")])
    without = made(COUNTS).correction()
    assert without is None or (without.kind, without.log_shift) == ("listed", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("made", WEIGHTED)
@given(st.integers(0, 10**6), st.sampled_from(["weights", "batch"]))
def test_weights_multiply_each_loss_and_the_mean_divides_by_what_it_says(
    made: Any, seed: int, normalizer: str
) -> None:
    logits, target = _batch(seed)
    w = torch.tensor([0.5, 2.0, 7.0])
    each = made(COUNTS, reduction="none")(logits, target)
    loss = made(COUNTS, weights=w.tolist(), normalizer=normalizer)
    divisor = w[target].sum() if normalizer == "weights" else len(target)
    torch.testing.assert_close(loss(logits, target), (w[target] * each).sum() / divisor)


def test_the_scale_of_the_weights_follows_the_published_code() -> None:
    # TensorFlow's class-balanced loss: per-example weights, divided by the batch; weights sum to K.
    logits, target = torch.tensor([[2.0, 1.0, 0.0]] * 3), torch.arange(3)
    loss = CrossEntropyLoss(COUNTS, weights="effective", beta=0.99, normalizer="batch")
    expected = (0.042237 * 0.407606 + 0.280044 * 1.407606 + 2.677719 * 2.407606) / 3
    assert loss(logits, target).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "inverse", "defer": -1}, r"defer must be in \[0, inf\], got -1"),
        ({"weights": "none", "defer": 160}, "defer must go with weights, got defer=160"),
        ({"weights": [1.0, 1e40, 1.0]}, r"within float32, .* got weights\[1\]=1e\+40; scale them"),
        ({"weights": [1.0, 1.0, 1e-50]}, r"within float32, .* got weights\[2\]=1e-50"),
        ({"weights": "inverse", "normalizer": "batches"}, "did you mean 'batch'"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassWeighting(COUNTS, **options)


def test_epochs_count_from_one() -> None:
    with pytest.raises(InputError, match=r"epoch must be in \[1, inf\], got 0"):
        CrossEntropyLoss(COUNTS, weights="inverse").set_epoch(0)
