import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import NTXentLoss, SupConLoss

FEATURES = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)


def _by_hand(features: torch.Tensor, labels: list[int], t: float) -> list[float | None]:
    x, values = F.normalize(features, dim=1), []
    for i, label in enumerate(labels):
        others = [a for a in range(len(labels)) if a != i]
        total = sum(math.exp(float(x[i] @ x[a]) / t) for a in others)
        terms = [float(x[i] @ x[p]) / t - math.log(total) for p in others if labels[p] == label]
        values.append(-sum(terms) / len(terms) if terms else None)
    return values


def test_worked_numbers() -> None:
    expected = [0.002476, 2.126928, 0.0]
    assert [v or 0.0 for v in _by_hand(FEATURES, [0, 0, 1], 0.1)] == pytest.approx(expected, abs=1e-6)
    target = torch.tensor([0, 0, 1])
    found = [SupConLoss(temperature=0.1, reduction=r)(3 * FEATURES, target).item() for r in ("sum", "mean")]
    assert found == pytest.approx([2.129404, 2.129404 / 2], abs=1e-6)
    assert SupConLoss().temperature == 0.07


@given(st.integers(1, 3), st.integers(1, 6), st.floats(0.07, 2), st.integers(0, 10**6))
def test_against_loops(views: int, n: int, t: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(views, n, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (n,), generator=generator)
    found = _by_hand(features.flatten(0, 1), target.tolist() * views, t)
    values = [v for v in found if v is not None]
    expected = sum(values) / max(1, len(values))
    assert float(SupConLoss(temperature=t)(features, target)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_two_views_and_labels_of_their_own_are_simclr() -> None:
    views = torch.randn(2, 5, 4, dtype=torch.float64)
    found = SupConLoss(temperature=0.5)(views, torch.arange(5))
    torch.testing.assert_close(found, NTXentLoss(temperature=0.5)(views))


@pytest.mark.parametrize("n", [1, 3])
def test_without_positives_the_loss_is_zero_and_differentiable(n: int) -> None:
    features = torch.randn(n, 4, requires_grad=True)
    value = SupConLoss()(features, torch.arange(n))
    value.backward()
    assert value.item() == 0
    assert features.grad is not None
    assert features.grad.abs().max() == 0


@given(st.integers(0, 10**6), st.floats(0.07, 1))
def test_against_pytorch_metric_learning(seed: int, t: float) -> None:
    metric = pytest.importorskip("pytorch_metric_learning.losses")
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    theirs = metric.SupConLoss(temperature=t)(views.flatten(0, 1), target.repeat(2))
    torch.testing.assert_close(SupConLoss(temperature=t)(views, target), theirs)
    simclr = metric.NTXentLoss(temperature=t)(views.flatten(0, 1), torch.arange(6).repeat(2))
    torch.testing.assert_close(NTXentLoss(temperature=t)(views), simclr)


def test_lengths_do_not_matter() -> None:
    features, target = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 2, 2])
    longer = features * torch.rand(6, 1).double() * 100
    torch.testing.assert_close(SupConLoss()(longer, target), SupConLoss()(features, target))


def test_probabilities_and_shapes_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"class indices \[4\], got torch.float32 \[4, 3\]; .*leave mixing off"
    ):
        SupConLoss()(torch.randn(2, 4, 8), torch.rand(4, 3))
    with pytest.raises(InputError, match=r"\[N, D\] or \[V, N, D\], got torch.float32 \[2, 4, 8, 8\]"):
        SupConLoss()(torch.randn(2, 4, 8, 8), torch.arange(4))
