import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import CrossEntropyLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
COUNTS = [100, 10, 1]


def _batch(seed: int, n: int = 16, k: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, k, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, k, (n,), generator=generator)


def test_running_example() -> None:
    losses = CrossEntropyLoss(reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx([0.407606, 1.407606, 2.407606], abs=1e-6)


def test_both_normalisers_on_the_worked_pair() -> None:
    pair = (LOGITS[:2], torch.tensor([0, 2]))
    assert CrossEntropyLoss(COUNTS, weights="inverse")(*pair).item() == pytest.approx(2.387804, abs=2e-6)
    by_batch = CrossEntropyLoss(COUNTS, weights="inverse", normalizer="batch")(*pair)
    assert by_batch.item() == pytest.approx(44.616117, abs=3e-6)


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor])
def test_weights_may_be_any_row_of_numbers(kind: Callable[[list[float]], Sequence[float]]) -> None:
    given = CrossEntropyLoss(COUNTS, weights=kind([1.0, 2.0, 4.0]))
    torch.testing.assert_close(
        given(LOGITS, TARGET), CrossEntropyLoss(weights=[1.0, 2.0, 4.0])(LOGITS, TARGET)
    )


def test_smoothing_worked_numbers() -> None:
    plain = CrossEntropyLoss(label_smoothing=0.1, reduction="none")(LOGITS, TARGET)
    assert plain.tolist() == pytest.approx([0.507606, 1.407606, 2.307606], abs=1e-6)
    weighted = CrossEntropyLoss(COUNTS, weights="inverse", label_smoothing=0.1, reduction="none")
    expected = [0.187814, 5.208142, 85.381421]
    assert weighted(LOGITS, TARGET).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # PyTorch weights each smoothed term by its own class: a different loss.
    theirs = F.cross_entropy(
        LOGITS,
        TARGET,
        torch.tensor([0.37, 3.7, 37.0], dtype=torch.float64),
        label_smoothing=0.1,
        reduction="none",
    )
    assert theirs.tolist() == pytest.approx([3.283745, 7.835340, 83.321291], abs=1e-6)


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 4.0, 0.25]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_equals_torch_without_smoothing(weights: list[float] | None, reduction: str) -> None:
    logits, target = _batch(1)
    reference = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    ours = CrossEntropyLoss(weights="none" if weights is None else weights, reduction=reduction)
    expected = F.cross_entropy(logits, target, reference, reduction=reduction)
    torch.testing.assert_close(ours(logits, target), expected, rtol=1e-12, atol=1e-12)


def test_equals_torch_with_smoothing_but_no_weights() -> None:
    logits, target = _batch(2)
    expected = F.cross_entropy(logits, target, label_smoothing=0.3)
    torch.testing.assert_close(CrossEntropyLoss(label_smoothing=0.3)(logits, target), expected)


def test_gradient_is_the_closed_form() -> None:
    logits, target = _batch(3)
    logits.requires_grad_()
    w = torch.tensor([0.5, 1.0, 2.0, 4.0, 0.25], dtype=torch.float64)
    CrossEntropyLoss(weights=w.tolist(), reduction="sum")(logits, target).backward()
    one_hot = F.one_hot(target, 5).double()
    expected = w[target][:, None] * (logits.detach().softmax(1) - one_hot)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, expected)


@given(st.integers(0, 10**6), st.integers(1, 1000), st.sampled_from(["inverse", "inverse_sqrt", "effective"]))
def test_equal_counts_are_plain_cross_entropy(seed: int, count: int, scheme: str) -> None:
    logits, target = _batch(seed)
    for normalizer in ("weights", "batch"):
        loss = CrossEntropyLoss([count] * 5, weights=scheme, normalizer=normalizer)
        torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target), rtol=1e-6, atol=0)


@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(["weights", "batch"]))
def test_one_hot_rows_equal_class_indices(seed: int, smoothing: float, normalizer: str) -> None:
    logits, target = _batch(seed)
    loss = CrossEntropyLoss(
        [9, 7, 5, 3, 1], weights="inverse", normalizer=normalizer, label_smoothing=smoothing
    )
    soft = loss(logits, F.one_hot(target, 5).double())
    torch.testing.assert_close(soft, loss(logits, target))


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_soft_targets_mix_the_losses_of_the_classes(seed: int, share: float) -> None:
    logits, target = _batch(seed)
    other = target.roll(1)
    loss = CrossEntropyLoss(weights=[1.0, 2.0, 3.0, 4.0, 5.0], label_smoothing=0.1, reduction="none")
    soft = share * F.one_hot(target, 5).double() + (1 - share) * F.one_hot(other, 5).double()
    expected = share * loss(logits, target) + (1 - share) * loss(logits, other)
    torch.testing.assert_close(loss(logits, soft), expected)


def test_scaling_the_weights_changes_nothing_by_default() -> None:
    logits, target = _batch(4)
    base = CrossEntropyLoss(weights=[1.0, 2.0, 3.0, 4.0, 5.0])(logits, target)
    scaled = CrossEntropyLoss(weights=[8.0, 16.0, 24.0, 32.0, 40.0])(logits, target)
    torch.testing.assert_close(base, scaled)


def test_float32_inside_autocast_and_for_half_logits() -> None:
    logits, target = _batch(5)
    loss = CrossEntropyLoss([9, 7, 5, 3, 1], weights="inverse")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.bfloat16().float(), target))
    assert loss(logits.half(), target).dtype == torch.float32
    assert loss(logits, target).dtype == torch.float64


def test_huge_logits_stay_finite_and_nan_passes_through() -> None:
    huge = torch.tensor([[1e30, -1e30, 0.0]])
    assert math.isfinite(CrossEntropyLoss()(huge, torch.tensor([0])).item())
    assert CrossEntropyLoss()(torch.full((1, 3), math.nan), torch.tensor([0])).isnan()


def test_works_under_vmap_and_grad() -> None:
    logits, target = _batch(6)
    loss = CrossEntropyLoss([9, 7, 5, 3, 1], weights="inverse", normalizer="batch")

    def single(z: Tensor, y: Tensor) -> Tensor:
        return loss(z[None], y[None])

    grads = torch.func.vmap(torch.func.grad(single))(logits, target)
    leaf = logits.clone().requires_grad_()
    CrossEntropyLoss([9, 7, 5, 3, 1], weights="inverse", reduction="sum")(leaf, target).backward()
    torch.testing.assert_close(grads, leaf.grad)


def test_correction_is_the_logarithm_of_the_weights() -> None:
    correction = CrossEntropyLoss(COUNTS, weights="inverse").correction()
    assert correction is not None
    assert correction.kind == "weight"
    assert correction.log_shift == pytest.approx([math.log(w) for w in (0.37, 3.7, 37.0)])
    assert CrossEntropyLoss(COUNTS).correction() is None


def test_weights_travel_with_the_state() -> None:
    loss = CrossEntropyLoss(COUNTS, weights="inverse")
    assert loss.state_dict()["weight"].tolist() == pytest.approx([0.37, 3.7, 37.0])
    assert not list(loss.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "inverse"}, "class_counts must be given with weights='inverse', got None"),
        ({"weights": [1.0, -2.0]}, r"weights\[1\]=-2.0"),
        ({"weights": [1.0, math.inf]}, r"weights\[1\]=inf"),
        ({"weights": []}, "one number a class, got 0"),
        ({"weights": [1.0], "class_counts": [3, 4]}, "got 1 for 2 classes"),
        ({"class_counts": [3, 0]}, r"class_counts\[1\]=0"),
        ({"reduction": "men"}, "did you mean 'mean'"),
        ({"normalizer": "weight"}, "did you mean 'weights'"),
        ({"label_smoothing": 1.5}, "label_smoothing must be in"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CrossEntropyLoss(**options)


@pytest.mark.parametrize("counts", [torch.tensor([4, 2, 1]), (4, 2, 1)])
def test_counts_may_be_any_sequence(counts: object) -> None:
    with pytest.raises(InputError, match="each of the 3 classes"):
        CrossEntropyLoss(counts)(torch.zeros(1, 4), torch.tensor([0]))
