"""Conflict freed of sampling noise, with its interval and the reliability of each class's gradient."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from tailgrad.checks import InputError, in_range
from tailgrad.interference.gram import Array

_ROWS = 64  # classes at a time: at K = 1,000 with 8 folds a block of deviations takes 4 MB


@dataclass(frozen=True, slots=True, eq=False)
class Unbiased:
    """The noise-free estimate ``C*_ij = <g_i, g_j> / sqrt(U_i U_j)`` and how sure it is.

    Neither ``conflict`` nor the ends of the interval are clipped to [-1, 1]: clipping would bias the estimate
    and shorten the very intervals that are widest. Rows are NaN, "cannot be told from noise", for a class
    with fewer than 2 folds or with ``U_c <= 0``.

    Args:
        conflict: C* [K, K], diagonal 1.
        low: lower end of the interval [K, K].
        high: upper end [K, K].
        error: standard error of ``conflict`` [K, K], diagonal 0.
        reliability: ``U_c / |g_c|^2`` [K], at most 1 and below 0 where noise is all there is; NaN below 2
            folds.
        squared: U [K], the unbiased estimate of the squared norm of the noise-free gradient; NaN below 2
            folds.

    Example:
        >>> ones = np.ones((2, 2))
        >>> Unbiased(ones, ones - 0.1, ones + 0.1, 0.05 * ones, ones[0], ones[0]).interval.shape
        (2, 2, 2)
    """

    conflict: Array
    low: Array
    high: Array
    error: Array
    reliability: Array
    squared: Array

    @property
    def interval(self) -> Array:
        """Lower and upper ends, [2, K, K]."""
        return np.stack([self.low, self.high])


@dataclass(frozen=True, slots=True)
class _Folds:
    """Usable folds; gradients are divided by ``sqrt(U_c)``, so that no unit is left."""

    weights: Array  # [K, m], rows of classes that cannot be used are 0
    used: Array  # [K] number of folds
    scale: Array  # [K] 1 / sqrt(U_c), or 0
    sketches: npt.NDArray[np.floating]  # [K, m, s], not scaled
    means: Array  # [K, s], scaled


def unbiased(
    gram: Array,
    weights: Array,
    squares: Array,
    sketches: npt.NDArray[np.floating],
    *,
    level: float = 0.9,
    sketch: int | None = None,
    gram_sketch: int | None = None,
) -> Unbiased:
    """Divide the sampling noise out of the cosines and say how sure the result is.

    With folds f of weight w_f, ``U = (|g|^2 - sum w_f^2 |g_f|^2) / (1 - sum w_f^2)`` is the weighted mean
    inner product over pairs of different folds, and ``C*_ij = <g_i, g_j> / sqrt(U_i U_j)``. Its variance is
    ``A_ij + A_ji`` with ``A_ij = sum_f w_f / (m (1 - w_f)) d_f^2``, where ``d_f`` is the change of C*_ij, to
    first order, when fold f of class i is left out, times ``(1 - w_f) / w_f``. The interval takes the
    Student t quantile with the degrees of freedom of Welch and Satterthwaite.

    The estimate uses no sketch, so a sketch of the folds adds no error to it; it inflates only the ``d_f^2``,
    by the known ``|g_f - g|^2 |b|^2 / s``, which is subtracted down to a share ``3 / (m + 1)`` of the raw
    variance. Where the noise fills many more than s dimensions intervals are therefore too wide, by about
    ``sqrt((1/r - 1) / s)``, and never much too narrow. A Gram computed from sketched means has an error of
    its own, which ``gram_sketch`` adds in quadrature.

    Args:
        gram: inner products of the class gradients [K, K].
        weights: share of the class's examples in each fold [K, m]; rows sum to 1, 0 for an unused fold.
        squares: ``|g_{c,f}|^2`` of the mean gradient of each fold [K, m].
        sketches: linear sketches of these mean gradients, or the gradients themselves [K, m, s].
        level: confidence level, in (0, 1).
        sketch: s if the sketches are random projections; None if they are the gradients.
        gram_sketch: size of the random projection that ``gram`` was computed from; None if it is exact.

    Raises:
        InputError: shapes that do not match, weights that do not sum to 1 (or 0), a level outside (0, 1), a
            sketch of fewer than 1 number.

    Source: ours. Delete-a-group jackknife with unequal groups: Busing, Meijer and van der Leeden (1999).

    Example:
        >>> folds = np.array([[[1.0, 0.1], [1.0, -0.1]], [[-1.0, 1.1], [-1.0, 0.9]]])
        >>> means, weights = folds.mean(1), np.full((2, 2), 0.5)
        >>> result = unbiased(means @ means.T, weights, (folds**2).sum(2), folds)
        >>> result.conflict[0, 1].round(3).item(), result.reliability.round(3).tolist()
        (-0.712, [0.99, 0.995])
    """
    gram, weights, squares = (np.asarray(a, dtype=np.float64) for a in (gram, weights, squares))
    sketches = np.asarray(sketches)
    _check(gram, weights, squares, sketches)
    in_range("level", level, 0, 1, exclusive=True)
    in_range("sketch", 1 if sketch is None else sketch, 1)
    in_range("gram_sketch", 1 if gram_sketch is None else gram_sketch, 1)
    gram = np.where(np.isfinite(gram), gram, np.nan)
    norms = np.diagonal(gram)
    squared = _squared_norms(norms, weights, squares)
    reliability: Array = squared / np.where(norms > 0, norms, np.nan)
    usable = squared > 0
    scale: Array = np.where(usable, squared, np.inf) ** -0.5
    folds = _folds(weights, sketches, scale)
    conflict = gram * np.outer(scale, scale)
    inflation = 1 / np.where(usable, reliability, 1.0)  # of |g|^2 by noise
    variance, freedom = _variance(conflict, folds, inflation, sketch)
    if gram_sketch is not None:
        variance += _gram_variance(conflict, inflation, folds.weights) / gram_sketch
    quantile = np.asarray(stdtrit(freedom, (1 + level) / 2), dtype=np.float64)
    return _result(conflict, variance, quantile, reliability, squared)


def _result(
    conflict: Array, variance: Array, quantile: Array, reliability: Array, squared: Array
) -> Unbiased:
    np.fill_diagonal(conflict, 1.0)
    np.fill_diagonal(variance, 0.0)
    known = squared > 0
    blank = ~np.outer(known, known)
    conflict[blank] = variance[blank] = np.nan
    error = np.sqrt(variance)
    half = quantile * error
    return Unbiased(conflict, conflict - half, conflict + half, error, reliability, squared)


def _squared_norms(norms: Array, weights: Array, squares: Array) -> Array:
    several = (weights > 0).sum(1) > 1
    within = (weights**2 * np.where(weights > 0, squares, 0.0)).sum(1)
    squared: Array = (norms - within) / np.where(several, 1 - (weights**2).sum(1), np.nan)
    return squared


def _folds(weights: Array, sketches: npt.NDArray[np.floating], scale: Array) -> _Folds:
    weights = np.where(scale[:, None] > 0, weights, 0.0)
    means = np.zeros((len(weights), sketches.shape[2]))
    folds = _Folds(weights, (weights > 0).sum(1).astype(np.float64), scale, sketches, means)
    for rows in _blocks(len(weights)):
        means[rows] = np.matmul(weights[rows, None], _scaled(folds, rows))[:, 0]
    return folds


def _blocks(num_classes: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, num_classes, _ROWS))


def _scaled(folds: _Folds, rows: slice) -> Array:
    seen = folds.weights[rows, :, None] > 0
    scaled: Array = np.where(seen, folds.sketches[rows], 0) * folds.scale[rows, None, None]
    return scaled


def _variance(conflict: Array, folds: _Folds, inflation: Array, sketch: int | None) -> tuple[Array, Array]:
    """Variance of C* and its degrees of freedom, both [K, K]."""
    sides = np.zeros_like(conflict)
    for rows in _blocks(len(conflict)):
        sides[rows] = _side(conflict[rows], folds, rows)
    if sketch is not None:
        noise = (inflation - 1).clip(min=0)[:, None]
        length = inflation + conflict**2 * (inflation - 2)[:, None]
        floor = 3 / (1 + folds.used.clip(min=2))[:, None]  # so chosen by the coverage of simulated intervals
        sides = np.maximum(sides - noise * length / sketch, floor * sides)
    variance = sides + sides.T
    spread = sides**2 / (folds.used - 1).clip(min=1)[:, None]
    spread += spread.T
    return variance, np.divide(variance**2, spread, out=np.ones_like(variance), where=spread > 0)


def _side(conflict: Array, folds: _Folds, rows: slice) -> Array:
    """The part A_ij of the variance that comes from the folds of the class of the row, for some rows."""
    gradients, weights, means = _scaled(folds, rows), folds.weights[rows], folds.means[rows]
    seen = weights > 0
    deviations = np.where(seen[..., None], gradients - means[:, None], 0.0)
    products = (deviations.reshape(-1, deviations.shape[2]) @ folds.means.T).reshape(*weights.shape, -1)
    own = _own_influence(gradients, deviations, means, weights)
    products -= own[:, :, None] / 2 * conflict[:, None]
    shares = weights / (1 - weights) / folds.used[rows, None].clip(min=1)
    side: Array = np.einsum("kf,kfj,kfj->kj", shares, products, products)
    return side


def _own_influence(gradients: Array, deviations: Array, means: Array, weights: Array) -> Array:
    """(1 - w_f) / w_f times the change of U when fold f is left out, in units of U, [k, m]."""
    pairs = weights * (1 - weights)
    others = means[:, None] - weights[..., None] * gradients
    partner = np.einsum("kfs,kfs->kf", gradients, others) / (1 - weights)
    total = pairs.sum(1, keepdims=True)
    partner -= (pairs * partner).sum(1, keepdims=True) / np.where(total > 0, total, 1.0)
    # 2 folds leave 1, which holds no pair: then U is replaced by |g|^2 in its change
    two = (weights > 0).sum(1, keepdims=True) == 2
    left = np.where(two | (total == 0), 1.0, total - 2 * pairs)
    plain = 2 * np.einsum("kfs,ks->kf", deviations, means)
    return np.where(two, plain, np.where(weights > 0, 2 * (1 - weights) ** 2 * partner / left, 0.0))


def _gram_variance(conflict: Array, inflation: Array, weights: Array) -> Array:
    """Variance of C*, times s, if ``gram`` comes from a random projection to s numbers, to first order."""
    own = inflation / (1 - (weights**2).sum(1))  # relative error of U over that of |g|^2
    first, second, both = own[:, None], own, np.outer(inflation, inflation)
    square = conflict**2
    # <g_i, g_j>, |g_i|^2 and |g_j|^2 are wrong together, as far as the cosine of the means says
    slope = 1 + (first**2 + second**2) / 2 - 2 * (first + second) + square * first * second / both
    variance: Array = both + square * slope
    return variance.clip(min=0)


def _check(gram: Array, weights: Array, squares: Array, sketches: npt.NDArray[np.floating]) -> None:
    classes, folds, size = gram.shape[:1], weights.shape[-1:], sketches.shape[-1:]
    given = {"gram": gram, "weights": weights, "squares": squares, "sketches": sketches}
    axes = {"gram": 2 * classes, "sketches": classes + folds + size}
    for name, array in given.items():
        wanted = axes.get(name, classes + folds)
        if array.shape != wanted:
            raise InputError(
                f"{name} must be shaped {list(wanted)} to match the others, got {list(array.shape)}; pass "
                "gram [K, K], weights and squares [K, m], sketches [K, m, s]"
            )
    sums = weights.sum(1)
    shares = (np.abs(sums - 1) < 1e-6) | (sums == 0)
    wrong = np.flatnonzero((weights < 0).any(1) | ~shares)
    if len(wrong):
        raise InputError(
            f"weights must be shares that sum to 1, got {weights[wrong[0]].tolist()} for class {wrong[0]}; "
            "divide the examples in each fold by those of the class"
        )
