"""What a measurement and an evaluation are tested for before anything is advised."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from tailgrad.checks import InputError
from tailgrad.evaluate import Estimate, Evaluation
from tailgrad.interference import Interference
from tailgrad.interference.significance import FOLDS, opposed_p, rare_and_frequent
from tailgrad.report.wording import interval, number, p_value, short, signed

Numbers = npt.NDArray[np.float64]
Z = 1.96
WIDE_RECALL = 0.3  # an interval of recall that is wider says little
_BINS = 15  # of the calibration error
_EXACT = 8  # 8! orders are enumerated, of more classes 20,000 are drawn
_MANY = 500  # above it, drawing orders takes gigabytes and Student's t is as good


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tested.

    Args:
        kind: ``conflict``, ``prior bias``, ``overfitting`` or ``miscalibration``.
        figures: the figures in words.
        evidence: the figures by name.
        p: two-sided p value of this finding alone.

    Example:
        >>> Finding("conflict", "excess -0.3", {"excess": -0.3}, 0.01).p
        0.01
    """

    kind: str
    figures: str
    evidence: dict[str, float]
    p: float


def conflict(measured: Interference, counts: Sequence[int]) -> Finding | None:
    """The rare-frequent pair of classes whose excess is most surely below 0, on more than the head.

    Args:
        measured: with an interval of its excess.
        counts: training examples of each class [K].

    Returns:
        None where there is no interval, no rare class, or the head alone was measured.

    Example: see ``advise``.
    """
    found = pairs_of(measured, counts)
    if found is None or measured.primary == "head" or np.isnan(found[1]).all():
        return None
    low, high, pairs = found
    folds = [min(FOLDS, *(int(measured.counts[k]) for k in pair)) for pair in pairs]
    p = opposed_p(low, high, np.array(folds))
    worst = int(np.nanargmin(p + 1e-9 * np.nan_to_num(high)))
    names = [short(measured.class_names[k]) for k in pairs[worst]]
    beyond, known = int((p < 0.05).sum()), int((~np.isnan(p)).sum())
    figures = (
        f"excess of {names[0]} (rare) and {names[1]} (frequent) on {measured.primary!r} "
        f"{interval(low[worst], high[worst], sign=True)} (90 %), {beyond} of {known} rare-frequent pairs "
        f"beyond noise, smallest p {p_value(p[worst])} (Holm)"
    )
    evidence = {"excess_low": low[worst], "excess_high": high[worst], "p": p[worst], "pairs_beyond": beyond}
    return Finding("conflict", figures, {**evidence, "pairs": known}, float(p[worst]))


def prior_bias(evaluation: Evaluation, counts: Sequence[int]) -> Finding | None:
    """Whether the frequent third of the classes is predicted more often than it occurs.

    Args:
        evaluation: with its confusion.
        counts: training examples of each class [K].

    Returns:
        None where no class is rare.

    Example: see ``advise``.
    """
    from scipy import stats  # takes half a second

    groups = rare_and_frequent(counts)
    if groups is None:
        return None
    frequent = np.array(groups[1])
    cells = evaluation.confusion
    predicted, true = int(cells.predicted[frequent].sum()), int(cells.support[frequent].sum())
    both = np.isin(cells.targets, frequent) & np.isin(cells.predictions, frequent)
    kept = int(cells.counts[both].sum())
    gained, lost = predicted - kept, true - kept
    tested = [k for k, row in enumerate(evaluation.classes) if row.support]
    rho, rank_p = rank_test([counts[k] for k in tested], [evaluation.classes[k].recall.value for k in tested])
    is_biased = gained > lost and rho >= 0
    p = float(stats.binomtest(gained, gained + lost).pvalue) if is_biased else 1.0
    figures = (
        f"the frequent third of the classes is predicted {predicted} times for {true} images (exact "
        f"p {p_value(p)}), recall and training count have rank correlation {signed(rho, 2)} "
        f"(p {p_value(rank_p)})"
    )
    evidence = {"predicted": predicted, "true": true, "p": p, "rank_correlation": rho, "rank_p": rank_p}
    return Finding("prior bias", figures, evidence, p)


def overfitting(heldout: Interference, training: Interference, counts: Sequence[int]) -> Finding | None:
    """Whether held-out minus training loss grows with rarity.

    Args:
        heldout: with the mean loss of each class.
        training: of the same model on training images.
        counts: training examples of each class [K].

    Returns:
        None where no class is rare.

    Example: see ``advise``.
    """
    gaps = heldout.loss - training.loss
    known, groups = np.flatnonzero(np.isfinite(gaps)), rare_and_frequent(counts)
    if groups is None or len(known) < 2:
        return None
    rho, p = rank_test(np.array(counts)[known], gaps[known])
    rare, frequent = (_mean([gaps[k] for k in one if k in known]) for one in groups)
    p = p if rho < 0 < rare else 1.0
    figures = (
        f"held-out minus training loss {signed(rare)} in the rare and {signed(frequent)} in the frequent "
        f"third of the classes, rank correlation with the training count {signed(rho, 2)} (p {p_value(p)})"
    )
    evidence = {"gap_rare": rare, "gap_frequent": frequent, "rank_correlation": rho, "p": p}
    return Finding("overfitting", figures, evidence, p)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def miscalibration(evaluation: Evaluation) -> Finding | None:
    """Whether the calibration error is above what chance gives.

    An ECE is positive by chance alone: by up to ``sqrt(B a (1 - a) / N)`` (Cauchy-Schwarz over B bins).

    Args:
        evaluation: from probabilities.

    Returns:
        None where there were only predictions.

    Example: see ``advise``.
    """
    if evaluation.ece is None:
        return None
    success = _nearest_half(evaluation.accuracy)
    noise = math.sqrt(success * (1 - success) / evaluation.images)
    chance = math.sqrt(_BINS) * noise
    low, high = max(0.0, evaluation.ece - chance - Z * noise), min(1.0, evaluation.ece + Z * noise)
    p = min(1.0, 2 * float(special.ndtr(-(evaluation.ece - chance) / noise)))
    figures = (
        f"calibration error {number(evaluation.ece)} over {evaluation.images} images, {interval(low, high)} "
        f"(95 %) once chance, up to {number(chance)}, is allowed for"
    )
    evidence = {"ece": evaluation.ece, "ece_low": low, "ece_high": high, "p": p}
    return Finding("miscalibration", figures, evidence, p)


def _nearest_half(accuracy: Estimate) -> float:
    ends = accuracy.low or 0.0, 1.0 if accuracy.high is None else accuracy.high
    return float(np.clip(0.5, *ends))


def rank_test(x: Sequence[float] | Numbers, y: Sequence[float] | Numbers) -> tuple[float, float]:
    """Spearman's rank correlation and its two-sided permutation p value (by Student's t above 500 values).

    Example:
        >>> rank_test([1, 2, 3], [5, 6, 9])
        (1.0, 0.3333333333333333)
    """
    from scipy import stats  # takes half a second

    a, b = (stats.rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    if scale == 0:
        return 0.0, 1.0
    rho = float(a @ b) / scale
    if len(a) > _MANY:
        return rho, float(stats.spearmanr(a, b).pvalue)
    if len(a) <= _EXACT:
        drawn = np.array(list(itertools.permutations(b))) @ a
    else:
        shuffled = np.random.default_rng(0).permuted(np.tile(b, (20_000, 1)), axis=1) @ a
        drawn = np.append(shuffled, a @ b)
    return rho, float(np.mean(np.abs(drawn) >= abs(float(a @ b)) - 1e-9 * scale))


def pairs_of(
    measured: Interference, counts: Sequence[int]
) -> tuple[Numbers, Numbers, list[tuple[int, int]]] | None:
    """Low and high ends of the excess of all rare-frequent pairs, or None where it has no interval.

    Args:
        measured: a measurement.
        counts: training examples of each class [K].

    Example: see ``advise``.
    """
    groups = rare_and_frequent(counts)
    try:
        found = getattr(measured, "excess_interval", None)
    except InputError:  # too many classes to hold a matrix
        return None
    if groups is None or found is None:
        return None
    pairs = list(itertools.product(*groups))
    rows, columns = np.array(pairs).T
    return found[0][rows, columns], found[1][rows, columns], pairs
