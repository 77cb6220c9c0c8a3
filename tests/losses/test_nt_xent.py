import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import NTXentLoss


@given(st.integers(1, 12), st.floats(0.05, 3))
def test_closed_form_of_identical_pairs_and_orthogonal_others(n: int, t: float) -> None:
    views = torch.eye(n, dtype=torch.float64).expand(2, n, n)
    expected = -math.log(math.exp(1 / t) / (math.exp(1 / t) + 2 * n - 2))
    assert float(NTXentLoss(temperature=t)(5 * views)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def _by_hand(views: torch.Tensor, t: float) -> list[float]:
    x = F.normalize(views.flatten(0, 1), dim=1)
    n, values = views.shape[1], []
    for i in range(2 * n):
        scores = {a: math.exp(float(x[i] @ x[a]) / t) for a in range(2 * n) if a != i}
        values.append(-math.log(scores[(i + n) % (2 * n)] / sum(scores.values())))
    return values


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_against_loops(n: int, seed: int) -> None:
    views = torch.randn(2, n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = _by_hand(views, 0.5)
    assert float(NTXentLoss()(views)) == pytest.approx(sum(values) / len(values))
    assert float(NTXentLoss(reduction="sum")(views)) == pytest.approx(sum(values))


def test_labels_are_not_read() -> None:
    views = torch.randn(2, 5, 4)
    found = {float(NTXentLoss()(views, target)) for target in (None, torch.arange(5), torch.zeros(5))}
    assert len(found) == 1


def test_dissimilar_pairs_are_pushed_too() -> None:
    # Cosines clamped from below, as in one repository, would leave these without a gradient.
    views = torch.tensor([[[1.0, 0.0], [-1.0, 0.1]], [[1.0, 0.1], [-1.0, 0.0]]], requires_grad=True)
    NTXentLoss()(views).backward()
    assert views.grad is not None
    assert (views.grad.norm(dim=2) > 1e-3).all()


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 5, 4), (5, 4)])
def test_other_numbers_of_views_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"two views \[2, N, D\], got \["):
        NTXentLoss()(torch.randn(shape))
    with pytest.raises(InputError, match=r"temperature must be in \(0, inf\), got 0"):
        NTXentLoss(temperature=0)
