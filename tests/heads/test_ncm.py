import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import nearest_class_mean


def _data(seed: int, n: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 5, generator=generator, dtype=torch.float64) + 1
    target = torch.cat([torch.arange(classes), torch.randint(classes, (n - classes,), generator=generator)])
    return features, target, torch.randn(20, 5, generator=generator, dtype=torch.float64) + 1


def _seen(kind: str, features: torch.Tensor, queries: torch.Tensor) -> list[torch.Tensor]:
    centre = features.mean(0) if kind == "centred" else 0
    return [x if kind == "raw" else F.normalize(x - centre) for x in (features, queries)]


@pytest.mark.parametrize("kind", ["raw", "l2", "centred"])
@given(st.integers(0, 10**6))
def test_one_example_a_class_is_the_nearest_neighbour(kind: str, seed: int) -> None:
    features, target, queries = _data(seed, 4, 4)
    train, test = _seen(kind, features, queries)
    expected = KNeighborsClassifier(1).fit(train.numpy(), target.numpy()).predict(test.numpy())
    found = nearest_class_mean(features, target, 4, kind)(queries).argmax(1)
    assert found.tolist() == expected.tolist()


@given(st.integers(0, 10**6))
def test_raw_means_agree_with_scikit_learn(seed: int) -> None:
    features, target, queries = _data(seed, 30, 4)
    reference = NearestCentroid().fit(features.numpy(), target.numpy())
    head = nearest_class_mean(features, target, 4)
    assert head(queries).argmax(1).tolist() == reference.predict(queries.numpy()).tolist()
    distances = ((queries[:, None] - torch.from_numpy(reference.centroids_)) ** 2).sum(2)
    torch.testing.assert_close(head(queries), -distances)


def test_cosines_to_the_means_of_features_of_length_one() -> None:
    features, target, queries = _data(0, 30, 3)
    for kind in ("l2", "centred"):
        train, test = _seen(kind, features, queries)
        means = torch.stack([train[target == k].mean(0) for k in range(3)])
        head = nearest_class_mean(features, target, 3, kind)
        torch.testing.assert_close(head(queries), F.cosine_similarity(test[:, None], means[None], dim=2))
        assert not list(head.parameters())
        assert head(queries[:, :, None, None].expand(-1, -1, 2, 2)).shape == (20, 3)


@given(st.integers(0, 10**6))
def test_by_distance_agrees_with_scikit_learn_on_directions(seed: int) -> None:
    features, target, queries = _data(seed, 30, 4)
    for kind in ("raw", "l2", "centred"):
        train, test = _seen(kind, features, queries)
        reference = NearestCentroid().fit(train.numpy(), target.numpy())
        found = nearest_class_mean(features, target, 4, kind, near="distance")(queries)
        assert found.argmax(1).tolist() == reference.predict(test.numpy()).tolist()


def test_distance_and_cosine_may_choose_differently() -> None:
    angles = torch.tensor(
        [-80.0, 80.0, 70.0, 70.0]
    ).deg2rad()  # the first class scatters, the second does not
    features = torch.stack([angles.cos(), angles.sin()], 1)
    query = torch.tensor([[0.866025, 0.5]])  # at 30 degrees, 30 from the first mean and 40 from the second
    chosen = [
        nearest_class_mean(features, torch.tensor([0, 0, 1, 1]), 2, "l2", near=near)(query).argmax().item()
        for near in ("cosine", "distance")
    ]
    assert chosen == [0, 1]
    with pytest.raises(InputError, match="near must be a known name, got 'far'"):
        nearest_class_mean(features, torch.tensor([0, 0, 1, 1]), 2, "l2", near="far")


@pytest.mark.parametrize(
    ("shape", "target", "kind", "message"),
    [
        ((3, 5), [0, 1, 1], "raw", r"every class of 0..2 .* none of \[2\]"),
        ((3, 5), [0, 1, 3], "raw", "a largest index of 3"),
        ((3, 5), [-1, 0, 1], "raw", "target must be at least 0, got -1"),
        ((3, 5), [0, 1], "raw", r"got \[3, 5\] and torch.int64 \[2\]"),
        ((3, 5, 2), [0, 1, 2], "raw", r"got \[3, 5, 2\]"),
        ((3, 5), [0, 1, 2], "cosine", "kind must be a known name, got 'cosine'"),
    ],
)
def test_bad_input(shape: tuple[int, ...], target: list[int], kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        nearest_class_mean(torch.randn(shape), torch.tensor(target), 3, kind)
