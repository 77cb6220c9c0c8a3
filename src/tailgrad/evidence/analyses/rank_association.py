"""Does one figure of a run predict another? Rank correlation within seeds, within methods, over all."""

from dataclasses import dataclass
from itertools import permutations
from math import factorial, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.evaluate import Estimate
from tailgrad.evaluate.crossed import FEWEST_SEEDS

Floats = NDArray[np.float64]
WITHIN = ("seed", "method", "nothing")
FEWEST = 3
_MOST_LISTED = 720
_NOTHING = 1e-12
_AXES: dict[str, tuple[int, ...]] = {"seed": (1,), "method": (0,), "nothing": (0, 1)}
"""Over which a block of runs reaches."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Two figures of the same runs, every method with every seed, for one class or several.

    Args:
        x: what is to predict [S, M, C]: seed, method, class.
        y: what is to be predicted [S, M, C].

    Raises:
        InputError: shapes that differ, or a figure that is not finite.

    Example:
        >>> Panel(np.zeros((3, 4, 2)), np.zeros((3, 4, 2))).x.shape
        (3, 4, 2)
    """

    x: Floats
    y: Floats

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.x.shape != self.y.shape or not self.x.size:
            raise InputError(
                f"x and y must both be [seeds, methods, classes], got {self.x.shape} and {self.y.shape}; "
                "give every method every seed"
            )
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise InputError("x and y must be finite, got NaN or infinity; leave those classes out")


def correlation(panel: Panel, within: str) -> float:
    """Spearman's rank correlation inside blocks of runs, over classes and blocks together.

    Within ``"seed"`` the runs of one seed are ranked, method against method; within ``"method"`` the runs of
    one method, seed against seed; within ``"nothing"`` all runs, which mixes the two: methods that differ in
    both figures then make a correlation that no single run follows. NaN where nothing varies.

    Example:
        >>> x = np.arange(6.0).reshape(2, 3, 1)
        >>> correlation(Panel(x, x**3), "seed"), correlation(Panel(x, -x), "nothing")
        (1.0, -1.0)
    """
    return float(_weighted(*_ranks(panel, within), np.ones((1, len(panel.x))), within)[0])


def by_seed(panel: Panel) -> list[float]:
    """The correlation within each seed, method against method; NaN where nothing varies.

    Example:
        >>> x = np.arange(6.0).reshape(2, 3, 1)
        >>> by_seed(Panel(x, x * [[[1.0]], [[-1.0]]]))
        [1.0, -1.0]
    """
    found = (Panel(x[None], y[None]) for x, y in zip(panel.x, panel.y, strict=True))
    return [correlation(each, "seed") for each in found]


def mean_kendall(panel: Panel) -> float:
    """Kendall's tau-b within each seed, method against method, the mean over seeds and classes.

    Pairs of columns in which nothing varies are left out; NaN where that is all of them.

    Example:
        >>> x = np.arange(6.0).reshape(2, 3, 1)
        >>> mean_kendall(Panel(x, -x))
        -1.0
    """
    from scipy.stats import kendalltau

    columns = [
        (panel.x[s, :, c], panel.y[s, :, c]) for s in range(len(panel.x)) for c in range(panel.x.shape[2])
    ]
    found = [float(kendalltau(x, y).statistic) for x, y in columns if np.ptp(x) > 0 and np.ptp(y) > 0]
    return float(np.mean(found)) if found else float("nan")


def seed_interval(
    panel: Panel,
    within: str,
    *,
    extra_variance: float = 0.0,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The correlation with an interval over seeds, which are drawn or left out with all their runs.

    Runs that share a seed share splits and orders. From 10 seeds on each resample draws whole seeds with
    replacement, and the ends are the percentiles that Student's t with S - 1 degrees asks for; below, seeds
    are left out one at a time (jackknife with t), since such a bootstrap over 3 to 5 seeds finds what is not
    there in 2 to 34 of 100 simulated studies, the jackknife in 2 to 8. Ranks are those of the panel, centred
    anew each time. Where splits were drawn anew neither knows that they overlap: it is the jackknife then,
    with ``1/S + rho`` in place of ``1/S``.

    Args:
        panel: at least 3 seeds, else there is no interval.
        within: as for ``correlation``.
        extra_variance: the Nadeau-Bengio term rho = n_test / n_train of resampled splits, else 0.
        level: coverage wanted, in (0, 1).
        resamples: of the bootstrap, at least 1.
        seed: of its draw.

    Source: Hesterberg, "What teachers should know about the bootstrap" (2015), for the ends; Efron and
    Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 11, for the jackknife. The shares are measured
    in ``tests/evidence/test_rank_association.py``.

    Example:
        >>> random = np.random.default_rng(0)
        >>> x = random.normal(size=(6, 4, 2))
        >>> found = seed_interval(Panel(x, x + random.normal(size=x.shape)), "seed")
        >>> found.low < found.value < found.high
        True
    """
    one_of("within", within, WITHIN)
    in_range("resamples", resamples, 1)
    in_range("level", level, 0, 1, exclusive=True)
    in_range("extra_variance", extra_variance, 0)
    seeds, value = len(panel.x), correlation(panel, within)
    if seeds < FEWEST or not np.isfinite(value):
        return Estimate(value, None, None, f"{seeds} seeds: no interval")
    if seeds < FEWEST_SEEDS or extra_variance:
        ends, how = _jackknife(panel, within, level, extra_variance), "jackknife"
    else:
        ends, how = _bootstrap(panel, within, level, np.random.default_rng(seed), resamples), "bootstrap"
    if not np.isfinite(ends).all():
        return Estimate(value, None, None, "nothing varies without one of the seeds: no interval")
    low, high = min(float(ends[0]), value), max(float(ends[1]), value)
    wider = ", Nadeau-Bengio" if extra_variance else ""
    return Estimate(value, low, high, f"{how} {level:.0%} over {seeds} seeds{wider}")


def _jackknife(panel: Panel, within: str, level: float, extra: float) -> Floats:
    seeds = len(panel.x)
    left = _weighted(*_ranks(panel, within), 1 - np.eye(seeds), within)
    error = sqrt((seeds - 1) / seeds * float(((left - left.mean()) ** 2).sum()))
    half = float(special.stdtrit(seeds - 1, (1 + level) / 2)) * error * sqrt(1 + seeds * extra)
    return np.clip(correlation(panel, within) + np.array([-half, half]), -1, 1)


def _bootstrap(
    panel: Panel, within: str, level: float, random: np.random.Generator, resamples: int
) -> Floats:
    seeds = len(panel.x)
    weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    draws = _weighted(*_ranks(panel, within), weights.astype(np.float64), within)
    return np.asarray(np.nanquantile(draws, _ends(level, seeds)))


def _ends(level: float, seeds: int) -> tuple[float, float]:
    t = float(special.stdtrit(seeds - 1, (1 + level) / 2))
    outside = float(special.ndtr(-t * sqrt(seeds / (seeds - 1))))
    return outside, 1 - outside


def permutation_p(panel: Panel, within: str, *, resamples: int = 999, seed: int = 0) -> float:
    """Two-sided p value of no association, by exchanging runs; all classes of a run stay together.

    Within ``"seed"`` the methods of each seed change places, within ``"method"`` the seeds of each method;
    within ``"nothing"`` methods change places as wholes, since runs of one method are no independent draws:
    with M methods p is then at least about 2 / M!.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(5, 4, 3))
        >>> permutation_p(Panel(x, 2 * x), "seed") <= 0.01
        True
    """
    one_of("within", within, WITHIN)
    random, axes = np.random.default_rng(seed), _AXES[within]
    # Exchanges leave the spread of ranks inside a block as it is: only the product changes.
    rx, ry = (ranks - ranks.mean(axes, keepdims=True) for ranks in _ranks(panel, within))
    found = abs(float((rx * ry).sum()))
    if not rx.any() or not ry.any():
        return 1.0
    draws = _exchanged(rx, within, resamples, random)
    extreme = sum(abs(float((x * ry).sum())) >= found - 1e-9 for x in draws)
    whole = within == "nothing" and factorial(rx.shape[1]) <= _MOST_LISTED
    return extreme / len(draws) if whole else (extreme + 1) / (len(draws) + 1)


def _exchanged(rx: Floats, within: str, resamples: int, random: np.random.Generator) -> list[Floats]:
    seeds, methods, _ = rx.shape
    if within == "seed":
        orders = (random.permuted(np.tile(np.arange(methods), (seeds, 1)), axis=1) for _ in range(resamples))
        return [np.take_along_axis(rx, order[:, :, None], 1) for order in orders]
    if within == "method":
        orders = (random.permuted(np.tile(np.arange(seeds), (methods, 1)), axis=1) for _ in range(resamples))
        return [np.take_along_axis(rx, order.T[:, :, None], 0) for order in orders]
    if factorial(methods) <= _MOST_LISTED:
        return [rx[:, list(order)] for order in permutations(range(methods))]
    return [rx[:, random.permutation(methods)] for _ in range(resamples)]


def _ranks(panel: Panel, within: str) -> tuple[Floats, Floats]:
    """Ranks inside each block, ties sharing their mean rank [S, M, C]."""
    from scipy.stats import rankdata  # takes half a second

    one_of("within", within, WITHIN)
    if within != "nothing":
        axis = {"seed": 1, "method": 0}[within]
        return rankdata(panel.x, axis=axis), rankdata(panel.y, axis=axis)
    flat = (values.reshape(-1, values.shape[2]) for values in (panel.x, panel.y))
    rx, ry = (rankdata(values, axis=0).reshape(panel.x.shape) for values in flat)
    return rx, ry


def _weighted(rx: Floats, ry: Floats, weights: Floats, within: str) -> Floats:
    """Pearson's correlations [R] of ranks centred inside blocks, seeds counting as often as drawn [R, S].

    NaN where nothing varies.
    """
    products = [_centred_sums(a, b, weights, within) for a, b in ((rx, ry), (rx, rx), (ry, ry))]
    both, first, second = (each.sum(1) for each in products)
    scale = np.sqrt(np.maximum(first * second, 0.0))
    return np.where(scale > _NOTHING, both / np.where(scale > _NOTHING, scale, 1.0), np.nan)


def _centred_sums(a: Floats, b: Floats, weights: Floats, within: str) -> Floats:
    """Sums of ``(a - mean a) (b - mean b)`` of each block, the means those of the seeds drawn [R, blocks]."""
    seeds, methods, classes = a.shape
    if within == "seed":  # each seed is a block whose ranks have one mean, whichever seeds are drawn
        a, b = (ranks - ranks.mean(1, keepdims=True) for ranks in (a, b))
        return np.asarray(weights @ (a * b).sum(1))
    shape = (seeds, methods, classes) if within == "nothing" else (seeds, 1, methods * classes)
    a, b = a.reshape(shape), b.reshape(shape)
    number = weights.sum(1, keepdims=True) * shape[1]
    return np.asarray(weights @ (a * b).sum(1) - (weights @ a.sum(1)) * (weights @ b.sum(1)) / number)
