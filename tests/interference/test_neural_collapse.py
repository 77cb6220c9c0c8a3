"""NC1 to NC4, Fisher ratios and the cone against direct formulas, and at exact collapse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid
from torch import nn

from tailgrad.interference import collapse as collapse_module
from tailgrad.interference import geometry as geometry_module
from tailgrad.interference.collapse import Block, Collapse, classifier_weight, collapse
from tailgrad.interference.geometry import FeatureMeans, Geometry
from tailgrad.interference.gram import Array
from tailgrad.interference.observer import Seen


def _simplex(num_classes: int, width: int, seed: int = 0) -> Array:
    """K unit vectors in a random orientation whose cosines are all -1/(K-1)."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, num_classes)))[0]
    centred: Array = math.sqrt(num_classes / (num_classes - 1)) * (np.eye(num_classes) - 1 / num_classes)
    return centred @ basis.T


def _geometry(
    features: Array,
    labels: Array,
    *,
    logits: Array | None = None,
    weight: Array | None = None,
    num_classes: int | None = None,
    chunk: int = 3,
) -> Geometry:
    """What the observer makes of them, shown one class at a time, in small chunks."""
    size = num_classes or int(labels.max()) + 1
    observer = FeatureMeans(size)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        for low in range(0, len(rows), chunk):
            own = rows[low : low + chunk]
            shown = None if logits is None else torch.tensor(logits[own])
            observer(Seen(int(label), torch.zeros(len(own)), torch.tensor(features[own]), shown))
    result = observer.result(np.bincount(labels, minlength=size), weight)
    assert result is not None
    return result


def _collapse(geometry: Geometry) -> Collapse:
    assert geometry.collapse is not None
    return geometry.collapse


def _pair(result: Array | None) -> Array:
    assert result is not None
    return result


def _features(seed: int, num_classes: int, width: int, spread: float = 1.0) -> tuple[Array, Array]:
    """Unbalanced classes around random means."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, 40) ** 2 // num_classes])
    means = rng.standard_normal((num_classes, width)) + 1
    return means[labels] + spread * rng.standard_normal((len(labels), width)), labels


@pytest.mark.parametrize(("num_classes", "width"), [(2, 2), (3, 2), (4, 7), (10, 10)])
def test_collapsed_features_show_no_sign_of_spread(num_classes: int, width: int) -> None:
    means = np.array([[1.0, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    if num_classes != 3:
        means = _simplex(num_classes, width)
    labels = np.repeat(np.arange(num_classes), np.arange(2, num_classes + 2))
    shift = np.full(width, 5.0)
    geometry = _geometry(means[labels] + shift, labels, logits=means[labels] @ means.T, weight=3 * means)
    found = _collapse(geometry)
    for figure in (found.nc1, found.equinorm, found.equiangular, found.angle_spread, found.nc3, found.nc4):
        assert figure == pytest.approx(0, abs=1e-9)
    off = ~np.eye(num_classes, dtype=bool)
    expected = np.degrees(np.arccos(-1 / (num_classes - 1)))
    np.testing.assert_allclose(_pair(geometry.centred_angles)[off], expected, rtol=1e-6)
    np.testing.assert_allclose(geometry.scatter, 0, atol=1e-12)
    np.testing.assert_allclose(geometry.resultant, 1, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 9), st.floats(0.01, 5))
def test_equals_the_formulas(seed: int, num_classes: int, width: int, spread: float) -> None:
    features, labels = _features(seed, num_classes, width, spread)
    rng = np.random.default_rng(seed)
    weight, logits = (
        rng.standard_normal((num_classes, width)),
        rng.standard_normal((len(labels), num_classes)),
    )
    geometry = _geometry(features, labels, logits=logits, weight=weight)
    found = _collapse(geometry)
    groups = [features[labels == k] for k in range(num_classes)]
    means = np.stack([g.mean(0) for g in groups])
    centred = means - means.mean(0)
    within = np.mean([np.cov(g.T, ddof=0).reshape(width, width) for g in groups], axis=0)
    between = centred.T @ centred / num_classes
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-13)) / num_classes
    assert found.nc1 == pytest.approx(nc1, rel=1e-6)
    lengths = np.linalg.norm(centred, axis=1)
    assert found.equinorm == pytest.approx(lengths.std() / lengths.mean())
    cosines = (centred @ centred.T / np.outer(lengths, lengths))[np.triu_indices(num_classes, 1)]
    assert found.equiangular == pytest.approx(np.abs(cosines + 1 / (num_classes - 1)).mean(), abs=1e-9)
    assert found.angle_spread == pytest.approx(cosines.std(), abs=1e-7)
    unit = weight / np.linalg.norm(weight) - centred / np.linalg.norm(centred)
    assert found.nc3 == pytest.approx(np.sqrt((unit**2).sum()))
    nearest = ((features[:, None] - means) ** 2).sum(2).argmin(1)
    assert found.nc4 == pytest.approx((nearest != logits.argmax(1)).mean())
    assert found.used.tolist() == np.bincount(labels).tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 8))
def test_spread_and_cone_equal_the_formulas(seed: int, num_classes: int, width: int) -> None:
    features, labels = _features(seed, num_classes, width)
    labels = np.concatenate([labels, np.arange(num_classes)])  # two of each at least
    features = np.concatenate([features, features[:num_classes] + 0.5])
    geometry = _geometry(features, labels)
    middle = np.stack([features[labels == k].mean(0) for k in range(num_classes)]).mean(0)
    pairs = _pair(geometry.fisher_pairs())
    for k in range(num_classes):
        mine = features[labels == k]
        scatter = np.trace(np.cov(mine.T, ddof=0).reshape(width, width))
        np.testing.assert_allclose(_pair(geometry.scatter)[k], scatter, rtol=1e-9)
        distance = ((mine.mean(0) - middle) ** 2).sum()
        np.testing.assert_allclose(_pair(geometry.fisher)[k], distance / scatter, rtol=1e-9)
        unit = mine / np.linalg.norm(mine, axis=1, keepdims=True)
        np.testing.assert_allclose(_pair(geometry.resultant)[k], np.linalg.norm(unit.mean(0)), rtol=1e-9)
        cosine = (unit @ middle / np.linalg.norm(middle)).mean()
        np.testing.assert_allclose(_pair(geometry.cone)[k], cosine, atol=1e-9)
    one, two = (features[labels == k] for k in (0, 1))
    expected = ((one.mean(0) - two.mean(0)) ** 2).sum() / (one.var(0).sum() + two.var(0).sum())
    np.testing.assert_allclose(pairs[0, 1], expected, rtol=1e-7)
    np.testing.assert_array_equal(np.diag(pairs), 0)


def test_rotation_and_scale_change_nothing_but_the_scatter() -> None:
    features, labels = _features(4, 5, 8)
    logits = np.random.default_rng(0).standard_normal((len(labels), 5))
    weight = np.random.default_rng(1).standard_normal((5, 8))
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((8, 8)))[0]
    plain = _geometry(features, labels, logits=logits, weight=weight)
    turned = _geometry(3 * features @ turn, labels, logits=logits, weight=weight @ turn)
    for name in ("nc1", "equinorm", "equiangular", "angle_spread", "nc3", "nc4"):
        one, two = (getattr(_collapse(g), name) for g in (plain, turned))
        assert one == pytest.approx(two, rel=1e-9), name
    for name in ("angles", "centred_angles", "fisher", "cone", "resultant"):
        np.testing.assert_allclose(getattr(plain, name), getattr(turned, name), rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(9 * _pair(plain.scatter), turned.scatter, rtol=1e-9)


def test_nearest_mean_is_that_of_scikit_learn() -> None:
    features, labels = _features(7, 4, 3)
    guess = NearestCentroid().fit(features, labels).predict(features)
    assert _collapse(_geometry(features, labels, logits=np.eye(4)[guess])).nc4 == 0
    flipped = guess.copy()
    flipped[:5] = (guess[:5] + 1) % 4
    found = _collapse(_geometry(features, labels, logits=np.eye(4)[flipped]))
    assert found.nc4 == pytest.approx(5 / len(labels))
    expected = [(flipped != guess)[labels == k].mean() for k in range(4)]
    np.testing.assert_allclose(_pair(found.mismatch), expected)


def test_within_scatter_is_that_of_scikit_learn_on_balanced_classes() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 20)
    features = rng.standard_normal((60, 4)) + np.eye(4)[labels] * 2
    model = LinearDiscriminantAnalysis(solver="eigen", store_covariance=True).fit(features, labels)
    centred = model.means_ - model.means_.mean(0)
    expected = np.trace(model.covariance_ @ np.linalg.pinv(centred.T @ centred / 3)) / 3
    assert _collapse(_geometry(features, labels)).nc1 == pytest.approx(expected, rel=1e-9)


def test_a_narrow_cone_and_an_open_one() -> None:
    narrow = np.random.default_rng(0).standard_normal((40, 6)) * 0.01 + np.arange(6)
    labels = np.arange(40) % 2
    assert (_pair(_geometry(narrow, labels).cone) > 0.999).all()
    signs = np.stack([np.array([1.0, 1.0]), np.array([1.0, -1.0])])[np.arange(40) // 2 % 2]
    found = _geometry(signs, labels)
    np.testing.assert_allclose(found.cone, 0.5**0.5)
    np.testing.assert_allclose(found.resultant, 0.5**0.5)


def test_classes_that_are_absent_single_or_zero() -> None:
    features = np.array([[1.0, 0], [3, 0], [0, 2], [0, 0], [0, 0]])
    found = _geometry(features, np.array([0, 0, 1, 3, 3]), num_classes=5, logits=np.eye(5))
    np.testing.assert_array_equal(found.scatter, [1, np.nan, np.nan, 0, np.nan])
    np.testing.assert_array_equal(found.resultant, [1, 1, np.nan, 0, np.nan])
    np.testing.assert_allclose(_pair(found.fisher)[[0, 3]], [16 / 9 + 4 / 9, np.inf])
    assert np.isnan(_pair(found.fisher)[[1, 2, 4]]).all()
    np.testing.assert_array_equal(_collapse(found).used, [2, 1, 0, 2, 0])
    np.testing.assert_array_equal(_pair(_collapse(found).mismatch), [0.5, 1, np.nan, 0.5, np.nan])
    pairs = _pair(found.fisher_pairs())
    assert pairs[0, 3] == 4
    assert np.isnan(pairs[2]).all()


def test_one_class_or_equal_means_have_no_collapse() -> None:
    features = np.array([[1.0, 2], [3, 4], [1, 2], [3, 4]])
    one = _collapse(_geometry(features, np.zeros(4, int), num_classes=2, weight=np.ones((2, 2))))
    same = _collapse(_geometry(features, np.array([0, 0, 1, 1]), weight=np.ones((2, 2))))
    for found in (one, same):
        figures = (found.nc1, found.equinorm, found.equiangular, found.angle_spread, found.nc3, found.nc4)
        assert figures == (None,) * 6
        assert found.mismatch is None


def test_without_features_there_is_no_geometry() -> None:
    observer = FeatureMeans(3)
    observer(Seen(0, torch.zeros(2), None))
    assert observer.result(torch.tensor([2, 0, 0])) is None


def test_weights_of_another_shape_count_as_none() -> None:
    features, labels = _features(0, 3, 4)
    assert _collapse(_geometry(features, labels, weight=np.ones((3, 5)))).nc3 is None
    assert _collapse(_geometry(features, labels, weight=np.zeros((3, 4)))).nc3 is None


def test_where_features_are_many_each_class_keeps_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = _features(1, 3, 4)
    logits = np.random.default_rng(0).standard_normal((len(labels), 3))
    whole = _geometry(features, labels, logits=logits)
    monkeypatch.setattr(geometry_module, "_KEPT", 3 * 4 * 5)
    monkeypatch.setattr(geometry_module, "_WAITING", 4)
    part = _geometry(features, labels, logits=logits)
    counts = np.bincount(labels)
    assert _collapse(part).used.tolist() == np.minimum(counts, 5).tolist()
    for name in ("means", "scatter", "fisher", "cone", "resultant"):  # these are of all examples
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name), rtol=1e-12)
    first = np.concatenate([np.flatnonzero(labels == k)[:5] for k in range(3)])
    block = Block(features[first], labels[first], logits[first].argmax(1))
    expected = collapse(whole.means, [block], counts=counts)
    assert _collapse(part).nc1 == pytest.approx(expected.nc1)
    shares = _pair(expected.mismatch) * counts
    assert _collapse(part).nc4 == pytest.approx(shares.sum() / counts.sum())


def test_tiles_of_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = _features(2, 30, 5)
    whole = _collapse(_geometry(features, labels))
    monkeypatch.setattr(collapse_module, "_TILE", 7)
    monkeypatch.setattr(geometry_module, "_PAIRED", 20)
    tiled = _geometry(features, labels)
    assert _collapse(tiled).equiangular == pytest.approx(whole.equiangular, rel=1e-12)
    assert _collapse(tiled).angle_spread == pytest.approx(whole.angle_spread, rel=1e-9)
    assert tiled.angles is None
    assert tiled.centred_angles is None
    assert _pair(tiled.fisher).shape == (30,)


def test_half_precision_features_and_views_are_copied() -> None:
    observer, features = FeatureMeans(2), torch.ones(2, 3, 4, dtype=torch.bfloat16)
    observer(Seen(0, torch.zeros(2), features[:, 0], torch.zeros(2, 2)))
    observer(Seen(1, torch.zeros(2), features[:, 1] * 2))
    features.zero_()
    result = observer.result(torch.tensor([2, 2]))
    assert result is not None
    np.testing.assert_array_equal(result.means, [[1] * 4, [2] * 4])
    assert _collapse(result).nc4 is None  # logits were shown for one class only


def test_the_classifier_is_the_only_layer_with_one_output_a_class() -> None:
    head = nn.Linear(4, 3)
    weight = classifier_weight(nn.Sequential(nn.Linear(4, 4), head), 3)
    assert weight is not None
    np.testing.assert_array_equal(weight, head.weight.detach().double().numpy())
    assert classifier_weight(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)), 3) is None
    assert classifier_weight(nn.Conv2d(3, 3, 1), 3) is None
    assert Geometry(np.eye(2), None, None).fisher_pairs() is None
