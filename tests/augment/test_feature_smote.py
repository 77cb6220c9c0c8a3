import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.neighbors import NearestNeighbors

from tailgrad.augment import feature_smote
from tailgrad.checks import InputError


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.integers(1, 8),
    st.floats(0, 1e3),
    st.integers(0, 10_000),
)
def test_new_features_lie_between_neighbours_of_their_class(
    counts: list[int], k: int, offset: float, seed: int
) -> None:
    torch.manual_seed(seed)
    target = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    features = torch.rand(len(target), 5, dtype=torch.float64) + offset
    found, labels = feature_smote(features, target, k=k)
    assert torch.equal(found[: len(target)], features)
    assert labels.bincount().tolist() == [max(counts)] * len(counts)
    for c, n in enumerate(counts):
        members, new = features[target == c], found[len(target) :][labels[len(target) :] == c]
        if n == 1:
            assert torch.equal(new, members.expand(len(new), -1))
            continue
        near = NearestNeighbors(n_neighbors=min(k, n - 1)).fit(members).kneighbors(return_distance=False)
        ends = members[torch.as_tensor(near)]  # [n, k, D], of every member its neighbours
        along = ends - members[:, None]
        share = ((new[:, None, None] - members[:, None]) * along).sum(-1) / along.square().sum(-1)
        foot = members[:, None] + share.clamp(0, 1)[..., None] * along
        gap = (new[:, None, None] - foot).norm(dim=-1).flatten(1)
        assert (gap.amin(1) < 1e-9 * (1 + offset)).all()


def test_members_neighbours_and_places_are_drawn_evenly() -> None:
    torch.manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found, _ = feature_smote(corners, torch.zeros(3, dtype=torch.long), to=[6003])
    new = found[3:]
    sides = torch.stack([new[:, 1] == 0, new[:, 0] == 0, (new.sum(1) - 1).abs() < 1e-6])
    assert (sides.float().mean(1) - 1 / 3).abs().max() < 5 * (2 / 9 / 6000) ** 0.5
    along = new[sides[0], 0]
    assert abs(along.mean() - 0.5) < 0.035
    assert abs(along.var() - 1 / 12) < 0.01


def test_the_cloud_is_that_of_imbalanced_learn() -> None:
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    torch.manual_seed(0)
    features, target = torch.randn(3000, 2).double().exp(), (torch.arange(3000) < 60).long()
    ours, labels = feature_smote(features, target)
    theirs, wanted = over_sampling.SMOTE(random_state=0).fit_resample(features.numpy(), target.numpy())
    assert labels.bincount().tolist() == [int((wanted == c).sum()) for c in (0, 1)]
    for direction in [*torch.eye(2).tolist(), [0.6, 0.8], [0.8, -0.6]]:
        along = torch.tensor(direction, dtype=torch.float64)
        assert ks_2samp(ours[3000:] @ along, torch.as_tensor(theirs[3000:]) @ along).pvalue > 1e-3


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_features_of_half_precision_keep_their_type(kind: torch.dtype) -> None:
    features, target = torch.tensor([[0.0], [1.0], [2.0], [8.0], [9.0]]), torch.tensor([0, 0, 0, 1, 1])
    found, labels = feature_smote(features.to(kind), target)
    assert found.dtype == kind
    assert labels.bincount().tolist() == [3, 3]
    assert 8 <= found[-1].item() <= 9


def test_counts_can_be_asked_for_and_nothing_is_dropped() -> None:
    features, target = torch.rand(6, 2), torch.tensor([0, 0, 0, 0, 2, 2])
    found, labels = feature_smote(features, target, to=[2, 0, 5])
    assert labels.tolist() == [0, 0, 0, 0, 2, 2, 2, 2, 2]
    assert found.shape == (9, 2)
    assert feature_smote(features, target)[1].bincount().tolist() == [4, 0, 4]


def test_the_generator_decides_and_gradients_stay_outside() -> None:
    features = torch.rand(20, 3, requires_grad=True)
    target = torch.tensor([0] * 15 + [1] * 5)
    one, two = (feature_smote(features, target, generator=torch.Generator().manual_seed(5)) for _ in "ab")
    assert torch.equal(one[0], two[0])
    assert not one[0].requires_grad


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_many_features_are_handled_in_pieces_wherever_they_lie(offset: float) -> None:
    torch.manual_seed(0)
    features = torch.rand(1500, 16) + offset
    target = (torch.arange(1500) < 700).long()
    found, _ = feature_smote(features, target, k=1, to=[0, 1400])
    members, new = features[:700], found[1500:]
    nearest = NearestNeighbors(n_neighbors=1).fit(members.double()).kneighbors(return_distance=False)[:, 0]
    start, along = members, members[torch.as_tensor(nearest)] - members
    share = ((new[:, None] - start) * along).sum(-1) / along.square().sum(-1)
    gap = (new[:, None] - start - share.clamp(0, 1)[..., None] * along).norm(dim=-1)
    assert gap.amin(1).max() < 1e-4 + 1e-6 * offset


@pytest.mark.parametrize(
    ("features", "target", "options", "words"),
    [
        (torch.rand(3), [0, 0, 1], {}, "features must be floating point"),
        (torch.rand(3, 2), [0, 1], {}, r"3 features .*\[2\]"),
        (torch.rand(3, 2), [0, 1, -1], {}, "at least 0, got -1"),
        (torch.rand(3, 2), [0, 0, 1], {"k": 0}, "k must be in .*got 0"),
        (torch.rand(3, 2), [0, 0, 1], {"to": "most"}, "to must be a known name, got 'most'"),
        (torch.rand(3, 2), [0, 0, 1], {"to": [3]}, "got 1 for 2 classes"),
        (torch.rand(3, 2), [0, 0, 2], {"to": [3, 4, 3]}, r"to\[1\]=4"),
    ],
)
def test_bad_input(features: torch.Tensor, target: list[int], options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        feature_smote(features, torch.tensor(target), **options)  # type: ignore[arg-type]
