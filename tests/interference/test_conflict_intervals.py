"""Conflict without sampling noise: brute force, closed forms, invariances, and coverage by simulation."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.interference.intervals import Unbiased, unbiased

Array = npt.NDArray[np.float64]
M = 8


def _measure(weights: Array, folds: Array, sketches: Array | None = None, **options: Any) -> Unbiased:
    """The estimate from fold gradients [K, m, P] and, where given, their sketches."""
    means = np.einsum("km,kmp->kp", weights, folds)
    return unbiased(
        means @ means.T, weights, (folds**2).sum(2), folds if sketches is None else sketches, **options
    )


def _unequal(seed: int, num_classes: int = 5, folds: int = 4, size: int = 6) -> tuple[Array, Array]:
    """Weights [K, m], the last class with 2 folds and the one before with 3, and noisy gradients."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 9, (num_classes, folds)).astype(float)
    counts[-1, 2:] = counts[-2, 3:] = 0
    weights = counts / counts.sum(1, keepdims=True)
    gradients = random.normal(size=(num_classes, 1, size)) + 0.4 * random.normal(
        size=(num_classes, folds, size)
    )
    return weights, np.where(weights[..., None] > 0, gradients, 0)


# Brute force: folds are really taken away and everything is computed again from what is left.


def _mean_pair_product(weights: list[float], folds: list[Array]) -> float:
    pairs = [(a, b) for a in range(len(folds)) for b in range(len(folds)) if a != b]
    products = sum(weights[a] * weights[b] * float(folds[a] @ folds[b]) for a, b in pairs)
    return products / sum(weights[a] * weights[b] for a, b in pairs)


def _mean(weights: list[float], folds: list[Array]) -> Array:
    return sum(w * g for w, g in zip(weights, folds, strict=True)) / sum(weights)


def _used(weights: Array, folds: Array, c: int) -> tuple[list[float], list[Array]]:
    rows = [f for f in range(weights.shape[1]) if weights[c, f] > 0]
    return [float(weights[c, f]) for f in rows], [folds[c, f] for f in rows]


def _brute_side(weights: Array, folds: Array, i: int, j: int, sketch: int | None) -> float:
    (w, g), (v, h) = _used(weights, folds, i), _used(weights, folds, j)
    mine, other, m = _mean(w, g), _mean(v, h), len(w)
    own, others = _mean_pair_product(w, g), _mean_pair_product(v, h)
    conflict = mine @ other / np.sqrt(own * others)
    total = 0.0
    for f in range(m):
        rest = [x for k, x in enumerate(w) if k != f], [x for k, x in enumerate(g) if k != f]
        scale = (1 - w[f]) / w[f]
        cross = scale * (mine - _mean(*rest)) @ other
        change = 2 * (g[f] - mine) @ mine if m == 2 else scale * (own - _mean_pair_product(*rest))
        influence = cross / np.sqrt(own * others) - conflict / 2 * change / own
        total += w[f] / (1 - w[f]) / m * influence**2
    if sketch is None:
        return total
    against = other / np.sqrt(own * others) - conflict * mine / own
    return max(total - (mine @ mine - own) * (against @ against) / sketch, 3 / (m + 1) * total)


@pytest.mark.parametrize("sketch", [None, 3, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_brute_force(seed: int, sketch: int | None) -> None:
    weights, folds = _unequal(seed)
    result = _measure(weights, folds, sketch=sketch)
    for i in range(5):
        w, g = _used(weights, folds, i)
        own = _mean_pair_product(w, g)
        assert result.squared[i] == pytest.approx(own, rel=1e-10)
        assert result.reliability[i] == pytest.approx(own / (_mean(w, g) @ _mean(w, g)), rel=1e-10)
        for j in set(range(5)) - {i}:
            v, h = _used(weights, folds, j)
            conflict = _mean(w, g) @ _mean(v, h) / np.sqrt(own * _mean_pair_product(v, h))
            sides = [_brute_side(weights, folds, a, b, sketch) for a, b in ((i, j), (j, i))]
            freedom = sum(sides) ** 2 / (sides[0] ** 2 / (len(w) - 1) + sides[1] ** 2 / (len(v) - 1))
            half = stats.t.ppf(0.95, freedom) * np.sqrt(sum(sides))
            assert result.conflict[i, j] == pytest.approx(conflict, rel=1e-10)
            assert result.error[i, j] == pytest.approx(np.sqrt(sum(sides)), rel=1e-9)
            assert result.high[i, j] - conflict == pytest.approx(half, rel=1e-8)
            assert conflict - result.low[i, j] == pytest.approx(half, rel=1e-8)


def test_pairs_do_not_depend_on_the_other_classes_or_on_the_blocks_they_are_worked_in() -> None:
    weights, folds = _unequal(3, num_classes=150)
    chosen = [0, 63, 64, 127, 128, 149]
    some, whole = _measure(weights[chosen], folds[chosen], sketch=9), _measure(weights, folds, sketch=9)
    for name in ("conflict", "low", "high", "error"):
        part = getattr(whole, name)[np.ix_(chosen, chosen)]
        np.testing.assert_allclose(getattr(some, name), part, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(whole.interval, [whole.low, whole.high])


# Closed forms.


def test_gradients_without_noise_have_reliability_1_and_no_width() -> None:
    gradients = np.random.default_rng(0).normal(size=(4, 7))
    weights, _ = _unequal(0, num_classes=4)
    folds = np.where(weights[..., None] > 0, gradients[:, None], 0)
    result = _measure(weights, folds, sketch=64)
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    np.testing.assert_allclose(result.reliability, 1, rtol=1e-12)
    np.testing.assert_allclose(result.squared, (gradients**2).sum(1), rtol=1e-12)
    np.testing.assert_allclose(result.conflict, unit @ unit.T, atol=1e-12)
    np.testing.assert_allclose(result.high - result.low, 0, atol=1e-12)


def test_two_folds_by_hand() -> None:
    # class 0: (1, e) and (1, -e), so U = 1 - e^2; class 1 is exactly (1, 1)
    e = 0.3
    folds = np.array([[[1, e], [1, -e]], [[1, 1], [1, 1]]])
    result = _measure(np.full((2, 2), 0.5), folds)
    u = 1 - e**2
    assert result.squared[0] == pytest.approx(u)
    assert result.conflict[0, 1] == pytest.approx(1 / np.sqrt(2 * u))
    # influences are +-e / sqrt(2 U) (the change of |g|^2 is 0), each with weight 1/2
    assert result.error[0, 1] == pytest.approx(e / np.sqrt(2 * u))
    t = 6.313751514675
    assert result.high[0, 1] == pytest.approx(1 / np.sqrt(2 * u) + t * e / np.sqrt(2 * u), rel=1e-9)
    assert result.high[0, 1] > 1  # not clipped


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_one_noisy_class_leaves_its_own_degrees_of_freedom(level: float) -> None:
    random = np.random.default_rng(1)
    folds = np.stack([np.ones((5, 3)) + 0.1 * random.normal(size=(5, 3)), np.tile([1.0, 0, 2], (5, 1))])
    result = _measure(np.full((2, 5), 0.2), folds, level=level)
    half = result.high[0, 1] - result.conflict[0, 1]
    assert half / result.error[0, 1] == pytest.approx(stats.t.ppf((1 + level) / 2, 4), rel=1e-9)


def test_first_order_deletion_agrees_with_the_plain_jackknife_where_noise_is_small() -> None:
    random = np.random.default_rng(2)
    folds = random.normal(size=(2, 1, 40)) + 0.2 * random.normal(size=(2, M, 40))
    weights = np.full((2, M), 1 / M)
    whole, variance = _measure(weights, folds), 0.0
    for c in range(2):
        left = np.array([_without(folds, weights, c, f) for f in range(M)])
        variance += (M - 1) / M * ((left - left.mean()) ** 2).sum()
    assert whole.error[0, 1] == pytest.approx(np.sqrt(variance), rel=0.02)


def _without(folds: Array, weights: Array, c: int, f: int) -> float:
    weights = weights.copy()
    weights[c, f] = 0
    weights[c] /= weights[c].sum()
    return float(_measure(weights, folds).conflict[0, 1])


def test_a_gram_of_sketched_means_has_the_error_of_a_sketched_cosine() -> None:
    gradients, m = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 2.0]]), 1000
    result = _measure(np.full((3, m), 1 / m), np.repeat(gradients[:, None], m, axis=1), gram_sketch=256)
    assert result.error[0, 1] == pytest.approx((1 - 0.36) / 16, rel=0.01)
    assert result.error[0, 2] == pytest.approx(1 / 16)


def test_error_of_a_sketched_gram_by_simulation() -> None:
    random, s = np.random.default_rng(3), 2000
    folds = random.normal(size=(2, 1, 12)) + 0.8 * random.normal(size=(2, 4, 12))
    folds[1] -= folds[0].mean(0)
    weights = np.full((2, 4), 0.25)
    means, squares = folds.mean(1), (folds**2).sum(2)
    exact, added = _measure(weights, folds), _measure(weights, folds, gram_sketch=s)
    found = []
    for _ in range(600):
        projected = means @ random.normal(size=(12, s)) / np.sqrt(s)
        found.append(unbiased(projected @ projected.T, weights, squares, folds).conflict[0, 1])
    expected = np.sqrt(added.error[0, 1] ** 2 - exact.error[0, 1] ** 2)
    assert exact.reliability.max() < 0.95
    assert np.std(found) == pytest.approx(expected, rel=0.1)


# Invariances.


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(1e-9, 1e9), min_size=5, max_size=5), st.permutations(range(5)), st.integers(0, 10**6)
)
def test_scale_and_order_do_not_matter(scales: list[float], order: list[int], seed: int) -> None:
    weights, folds = _unequal(seed)
    plain = _measure(weights, folds, sketch=100)
    scaled = _measure(weights, folds * np.array(scales)[:, None, None], sketch=100)
    moved = _measure(weights[order][:, ::-1], folds[order][:, ::-1], sketch=100)
    for name in ("conflict", "low", "high", "error"):
        expected = getattr(plain, name)
        np.testing.assert_allclose(getattr(scaled, name), expected, rtol=1e-6, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(
            getattr(moved, name), expected[np.ix_(order, order)], rtol=1e-6, atol=1e-9, err_msg=name
        )
        np.testing.assert_array_equal(expected, expected.T)
    np.testing.assert_allclose(scaled.reliability, plain.reliability, rtol=1e-9)
    np.testing.assert_allclose(scaled.squared, plain.squared * np.square(scales), rtol=1e-9)


def test_turning_a_class_round_turns_its_conflict() -> None:
    weights, folds = _unequal(5)
    plain, turned = (
        _measure(weights, folds),
        _measure(weights, folds * np.array([-1, 1, 1, 1, 1])[:, None, None]),
    )
    np.testing.assert_allclose(turned.conflict[0, 1:], -plain.conflict[0, 1:])
    np.testing.assert_allclose(turned.error, plain.error)


# Simulation.


def _root(random: np.random.Generator, n: int, size: int, freedom: int) -> Array:
    """Triangular A with ``A A'`` distributed as the Gram of ``size`` normal vectors of length ``freedom``.

    Bartlett's decomposition: exact, and a million dimensions cost no more than 16.
    """
    root = np.tril(random.normal(size=(n, size, size)), -1)
    root[:, range(size), range(size)] = np.sqrt(random.chisquare(freedom - np.arange(size), (n, size)))
    return root


def _simulate(
    counts: tuple[int, int], cosine: float, noise: float, dimensions: int | None, n: int
) -> tuple[Array, Array]:
    """Weights [2, m] and n replicas of fold means [n, 2, m, P'] whose inner products are those wanted.

    ``noise`` is the length of one example's deviation from its class mean of length 1. Without
    ``dimensions`` it is of rank 6, the same in both classes, stronger in some directions, and not orthogonal
    to the means.
    """
    random = np.random.default_rng([counts[1], round(10 * cosine + 10), dimensions or 0])
    weights = np.array([[len(part) / c for part in np.array_split(range(c), M)] for c in counts])
    if dimensions is None:
        turned = np.linalg.qr(np.random.default_rng(4).normal(size=(6, 6)))[0]
        mixing = np.diag([1, 0.8, 0.9, 0.6, 0.5, 0.3]) @ turned
        folds = random.normal(size=(n, 2, M, 6)) @ mixing / np.linalg.norm(mixing)
    else:
        rest = _root(random, n, 2 * M, dimensions - 2).reshape(n, 2, M, 2 * M)
        folds = np.concatenate([random.normal(size=(n, 2, M, 2)), rest], -1) / np.sqrt(dimensions)
    folds *= noise / np.sqrt(weights * np.array(counts)[:, None])[..., None]
    folds[..., :2] += np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]])[:, None]
    return weights, folds


def _sketched(folds: Array, size: int) -> Array:
    root = _root(np.random.default_rng(size), len(folds), folds.shape[-1], size) / np.sqrt(size)
    return np.einsum("ncfp,npq->ncfq", folds, root)


def _replicas(weights: Array, folds: Array, sketch: int | None = None) -> list[Unbiased]:
    sketches = folds if sketch is None else _sketched(folds, sketch)
    return [_measure(weights, *pair, sketch=sketch) for pair in zip(folds, sketches, strict=True)]


def _covered(results: list[Unbiased], cosine: float) -> float:
    low, high = (np.array([r.interval[end, 0, 1] for r in results]) for end in (0, 1))
    known = ~np.isnan(low)
    assert known.mean() > 0.9
    return float(((low <= cosine) & (cosine <= high))[known].mean())


CASES = {  # counts, noise, dimensions, sketch
    "balanced, 100,000 dimensions": ((200, 200), 5, 100_000, None),
    "balanced, rank 6": ((200, 200), 5, None, None),
    "balanced, 500 dimensions, sketched": ((200, 200), 5, 500, 1024),
    "balanced, 1,000 dimensions, sketched": ((200, 200), 5, 1000, 1024),
    "balanced, rank 6, sketched": ((200, 200), 5, None, 1024),
    "50:1, 100,000 dimensions": ((800, 16), 4, 100_000, None),
    "50:1, rank 6": ((800, 16), 3, None, None),
    "50:1, 500 dimensions, sketched": ((800, 16), 4, 500, 1024),
    "50:1, 1,000 dimensions, sketched": ((800, 16), 4, 1000, 1024),
    "50:1, rank 6, sketched": ((800, 16), 3, None, 1024),
}


@pytest.mark.parametrize("cosine", [-0.5, 0, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_coverage_of_the_90_percent_interval(case: str, cosine: float) -> None:
    counts, noise, dimensions, sketch = CASES[case]
    weights, folds = _simulate(counts, cosine, noise, dimensions, n=800)
    assert 0.85 < _covered(_replicas(weights, folds, sketch), cosine) < 0.95


def test_plain_cosine_of_a_rare_class_is_shrunk_and_misses_while_the_estimate_does_not() -> None:
    for noise, expected in ((3.2, -0.39), (4.5, -0.33)):
        weights, folds = _simulate((800, 16), -0.5, noise, 100_000, n=500)
        results = _replicas(weights, folds)
        shrink = np.array([np.sqrt(r.reliability.prod()) for r in results])
        estimate = np.array([r.conflict[0, 1] for r in results])
        half = np.array([r.high[0, 1] for r in results]) - estimate
        plain = estimate * shrink
        assert plain.mean() == pytest.approx(expected, abs=0.01)
        assert (np.abs(plain + 0.5) <= half * shrink).mean() == 0
        assert estimate.mean() == pytest.approx(-0.5, abs=0.005)
        assert 0.85 < _covered(results, -0.5) < 0.95


def test_noise_in_many_more_dimensions_than_the_sketch_widens_and_never_misses() -> None:
    weights, folds = _simulate((800, 16), -0.5, 4, 100_000, n=300)
    exact, sketched = _replicas(weights, folds), _replicas(weights, folds, 1024)
    np.testing.assert_allclose([r.conflict[0, 1] for r in sketched], [r.conflict[0, 1] for r in exact])
    assert _covered(sketched, -0.5) > 0.99
    ceiling = [np.sqrt((1 / r.reliability - 1).sum() / 1024) for r in sketched]
    typical = np.median(np.array([r.error[0, 1] for r in sketched]) / ceiling)
    assert typical < 1.0


# What cannot be told from noise.


def test_too_few_examples_and_nothing_but_noise_are_nan() -> None:
    folds = np.zeros((5, 3, 4))
    folds[0] = [[1, 0, 0, 0], [1, 0.1, 0, 0], [1, 0, 0.1, 0]]
    folds[1, 0] = [1, 1, 0, 0]  # one example
    folds[2] = [[1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0]]  # folds oppose each other: U < 0
    folds[4] = [[0, 1, 0.2, 0], [0, 1, 0, 0], [0, 1, 0, 0.1]]
    weights = np.full((5, 3), 1 / 3)
    weights[1] = [1, 0, 0]  # class 3 has a gradient of zero
    result = _measure(weights, folds, sketch=100)
    bad = [1, 2, 3]
    for matrix in (result.conflict, result.error, result.low, result.high):
        assert np.isnan(matrix[bad]).all()
        assert np.isnan(matrix[:, bad]).all()
        assert np.isfinite(matrix[np.ix_([0, 4], [0, 4])]).all()
    assert np.isnan(result.reliability[[1, 3]]).all()
    assert result.reliability[2] < 0
    assert result.squared[2] < 0
    assert np.isnan(result.squared[1])
    assert result.conflict[0, 0] == result.low[0, 0] == result.high[0, 0] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_class_without_a_finite_gradient_is_nan_and_alone(bad: float) -> None:
    weights, folds = _unequal(7)
    means = np.einsum("km,kmp->kp", weights, folds)
    gram, squares, sketches = means @ means.T, (folds**2).sum(2), folds.astype(np.float32)
    gram[1], gram[:, 1], squares[1], sketches[1] = bad, bad, bad, bad
    result, clean = unbiased(gram, weights, squares, sketches), _measure(weights, folds)
    rest = np.ix_([0, 2, 3, 4], [0, 2, 3, 4])
    assert np.isnan(result.conflict[1]).all()
    assert np.isnan(result.reliability[1])
    np.testing.assert_allclose(result.low[rest], clean.low[rest], rtol=1e-5, atol=1e-6)


def test_what_stands_in_an_unused_fold_is_not_read() -> None:
    weights, folds = _unequal(8)
    squares = np.where(weights > 0, (folds**2).sum(2), np.nan)
    means = np.einsum("km,kmp->kp", weights, folds)
    sketches = np.where(weights[..., None] > 0, folds, np.nan)
    result = unbiased(means @ means.T, weights, squares, sketches)
    np.testing.assert_array_equal(result.low, _measure(weights, folds).low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gram": np.eye(2)[:1]}, r"gram must be shaped \[1, 1\] .* got \[1, 2\]"),
        ({"weights": np.full((3, 2), 0.5)}, r"weights must be shaped \[2, 2\] .* got \[3, 2\]"),
        ({"squares": np.ones((2, 3))}, r"squares must be shaped \[2, 2\] .* got \[2, 3\]"),
        ({"sketches": np.ones((2, 3, 4))}, r"sketches must be shaped \[2, 2, 4\] .* got \[2, 3, 4\]"),
        (
            {"weights": np.full((2, 2), 0.6)},
            r"weights must be shares .* got \[0.6, 0.6\] for class 0; divide",
        ),
        ({"weights": np.array([[0.5, 0.5], [1.5, -0.5]])}, r"got \[1.5, -0.5\] for class 1"),
        ({"sketch": 0}, r"sketch must be in \[1, inf\], got 0"),
        ({"gram_sketch": -1}, r"gram_sketch must be in \[1, inf\], got -1"),
        ({"level": 1.0}, r"level must be in \(0, 1\), got 1.0"),
    ],
)
def test_refuses(change: dict[str, Any], message: str) -> None:
    arguments = {"gram": np.eye(2), "weights": np.full((2, 2), 0.5), "squares": np.ones((2, 2))}
    arguments |= {"sketches": np.ones((2, 2, 4))} | change
    with pytest.raises(InputError, match=message):
        unbiased(**arguments)
