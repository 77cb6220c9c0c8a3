import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import BCLLoss


def _loss(classes: int = 3, **options: float) -> BCLLoss:
    torch.manual_seed(0)
    return BCLLoss([5] * classes, dim=4, **options).double()


def _batch(seed: int, n: int, views: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(views, n, 4, generator=generator, dtype=torch.float64)
    return features, torch.randint(3, (n,), generator=generator)


def _by_hand(loss: BCLLoss, features: torch.Tensor, target: torch.Tensor) -> list[float]:
    """Class by class: each class of keys adds the mean of its exponentials, never the anchor itself."""
    x = F.normalize(torch.cat([features.flatten(0, 1), loss.centres.detach()]), dim=1)
    labels = target.tolist() * len(features) + list(range(len(loss.centres)))
    values = []
    for i in range(len(x) - len(loss.centres)):
        score = [float(x[i] @ x[a]) / loss.temperature for a in range(len(x))]
        keys = {k: [a for a in range(len(x)) if labels[a] == k and a != i] for k in set(labels)}
        total = sum(sum(math.exp(score[a]) for a in group) / len(group) for group in keys.values())
        values.append(math.log(total) - sum(score[a] for a in keys[labels[i]]) / len(keys[labels[i]]))
    return values


@given(st.integers(1, 7), st.integers(1, 3), st.sampled_from([0.07, 0.1, 1.0]), st.integers(0, 10**6))
def test_against_loops_over_classes(n: int, views: int, t: float, seed: int) -> None:
    loss = _loss(temperature=t)
    features, target = _batch(seed, n, views)
    values = _by_hand(loss, features, target)
    assert loss(features, target).item() == pytest.approx(sum(values) / len(values), rel=1e-9)
    loss.reduction = "sum"
    assert loss(features, target).item() == pytest.approx(sum(values), rel=1e-9)


@given(st.integers(1, 30))
def test_a_class_counts_once_however_often_it_comes(copies: int) -> None:
    """Copies of a negative change nothing for the anchor that they are negatives of."""
    loss, anchor, negative = _loss(), torch.eye(4)[:1].double(), torch.randn(1, 4).double()
    with torch.no_grad():
        loss.centres[1] = negative[0]

    def first(n: int) -> float:
        features = torch.cat([anchor, negative.expand(n, 4)])[None]
        return _by_hand(loss, features, torch.tensor([0] + [1] * n))[0]

    assert first(copies) == pytest.approx(first(1), rel=1e-9)
    features = torch.cat([anchor, negative.expand(copies, 4)])
    target = torch.tensor([0] + [1] * copies)
    loss.reduction = "sum"
    rest = sum(_by_hand(loss, features[None], target)[1:])
    assert loss(features, target).item() - rest == pytest.approx(first(1), rel=1e-6)


def test_samples_within_a_class_may_change_places() -> None:
    loss = _loss()
    features, target = _batch(1, 8)
    order = torch.cat([(target == k).nonzero().flatten().flip(0) for k in range(3)])
    places = torch.cat([(target == k).nonzero().flatten() for k in range(3)])
    swapped = features.clone()
    swapped[:, places] = features[:, order]
    torch.testing.assert_close(loss(swapped, target), loss(features, target))


def test_centres_learn_and_their_lengths_do_not_matter() -> None:
    loss, (features, target) = _loss(), _batch(2, 6)
    value = loss(features, target)
    value.backward()
    assert loss.centres.grad is not None
    assert (loss.centres.grad.norm(dim=1) > 0).all()
    with torch.no_grad():
        loss.centres *= torch.tensor([[0.1], [5.0], [100.0]])
    torch.testing.assert_close(loss(features, target), value)


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"\[N, 4\], got torch.float64 \[5, 3\]"):
        _loss()(torch.randn(2, 5, 3).double(), torch.zeros(5).long())
    with pytest.raises(InputError, match=r"target must be in 0..2, got target\[1\]=3"):
        _loss()(torch.randn(2, 4).double(), torch.tensor([0, 3]))
    with pytest.raises(InputError, match="class_counts must be given to BCLLoss"):
        BCLLoss()
