import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import ETF
from tailgrad.losses import DotRegressionLoss

VECTORS = ETF(8, 4).vectors.double()


def _features(seed: int, n: int = 6) -> torch.Tensor:
    return 3 * torch.randn(n, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_zero_if_and_only_if_parallel(seed: int, length: float) -> None:
    loss, target = DotRegressionLoss(vectors=VECTORS, reduction="none"), torch.arange(4)
    along = length * VECTORS.T
    torch.testing.assert_close(loss(along, target), torch.zeros(4).double(), atol=1e-9, rtol=0)
    # Opposite vectors have the same line but the wrong direction: (-2 |h|)^2 / (2 |h|).
    assert loss(-along, target).tolist() == pytest.approx([2 * length] * 4, rel=1e-6)
    assert (loss(_features(seed, 4), target) > 1e-6).all()


@given(st.integers(0, 10**6), st.booleans())
def test_against_the_formula_with_the_gradient_that_leaves_lengths_alone(seed: int, projected: bool) -> None:
    vectors = ETF(8, 40).vectors.double() if projected else VECTORS
    features, target = _features(seed).requires_grad_(), torch.tensor([0, 1, 2, 3, 3, 3])
    loss = DotRegressionLoss(vectors=vectors, reduction="sum")
    value = loss(features, target)
    value.backward()
    expected, slope = 0.0, torch.zeros_like(features)
    for i, y in enumerate(target.tolist()):
        h, m = features[i].detach(), vectors[:, y]
        off = float(h @ m) - float(m.norm() * h.norm())
        expected += off**2 / (2 * float(h.norm()))
        slope[i] = off / float(h.norm()) * m
    assert value.item() == pytest.approx(expected)
    assert features.grad is not None
    torch.testing.assert_close(features.grad, slope)


def test_balanced_lengths_give_every_class_of_a_batch_the_same_weight() -> None:
    features, target = _features(0), torch.tensor([0, 0, 0, 0, 2, 2])
    plain = DotRegressionLoss(vectors=VECTORS, reduction="none")(features, target)
    balanced = DotRegressionLoss(vectors=VECTORS, balance_lengths=True)
    by_class = (plain[:4].mean() + plain[4:].mean()) / 2
    torch.testing.assert_close(balanced(features, target), by_class)
    # The length sqrt((6/2)/4) of m_0 itself, from the definition.
    longer = DotRegressionLoss(vectors=VECTORS * math.sqrt(3 / 4), reduction="none")(features, target)[:4]
    balanced.reduction = "none"
    torch.testing.assert_close(balanced(features, target)[:4], longer)
    soft = balanced(features, F.one_hot(target, 4).double())
    torch.testing.assert_close(soft, balanced(features, target))


def test_training_on_the_loss_alone_reaches_the_vectors() -> None:
    torch.manual_seed(0)
    head, target = ETF(8, 4), torch.arange(4).repeat(4)
    raw = torch.rand(16, 8).requires_grad_()
    optimizer = torch.optim.SGD([raw, *head.parameters()], lr=0.5)
    loss = DotRegressionLoss([1, 1, 1, 1], vectors=head.vectors, reduction="sum")
    for _ in range(1500):
        optimizer.zero_grad()
        loss(head.embed(raw), target).backward()
        optimizer.step()
    cosines = F.cosine_similarity(head.embed(raw), head.vectors.T[target])
    assert cosines.min() > 0.99
    assert torch.equal(head(raw).argmax(1), target)


def test_features_of_zero_are_drawn_to_their_vector() -> None:
    features = torch.zeros(1, 8, requires_grad=True)
    DotRegressionLoss(vectors=VECTORS)(features, torch.tensor([1])).backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad[0], -VECTORS[:, 1].float())


@pytest.mark.parametrize(
    ("counts", "vectors", "message"),
    [
        ([3, 2], None, "vectors must be given to DotRegressionLoss, got None; use head=etf"),
        ([3, 2, 1], VECTORS, r"vectors must be \[D, 3\], got \[8, 4\]"),
        (None, VECTORS[:, 0], r"vectors must be \[D, K\], got \[8\]"),
    ],
)
def test_bad_vectors(counts: list[int] | None, vectors: torch.Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DotRegressionLoss(counts, vectors=vectors)


def test_features_of_another_width() -> None:
    with pytest.raises(InputError, match=r"\[N, 8\], got torch.float32 \[2, 9\]"):
        DotRegressionLoss(vectors=VECTORS)(torch.randn(2, 9), torch.tensor([0, 1]))
