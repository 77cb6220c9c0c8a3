"""Everything that is said about one set of predictions where images have several labels."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.bootstrap import debiased_percentile, percentile
from tailgrad.evaluate.confusion import Floats, Values
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.groups import _RULES as RULES
from tailgrad.evaluate.groups import shots, thirds
from tailgrad.evaluate.intervals import combined, wilson, wilson_f1
from tailgrad.evaluate.label_scores import checked_labels
from tailgrad.evaluate.label_thresholds import HALF, LabelThresholds
from tailgrad.evaluate.ranking import auc_interval, ranked
from tailgrad.types import ClassInfo

TASK = "several_labels"
FIGURES = ("mean_average_precision", "macro_auc", "macro_f1", "micro_f1", "macro_f1_at_half")
"""Figures over all labels, the headline first."""
_BLOCK = 1_000_000
"""Weights held at once: 8 MB."""
_NO_SPREAD = 1e-12
_Between = Callable[[float, Floats, float], Estimate]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What is said about one label.

    Args:
        name: of the label.
        train_count: training images that have it.
        support: test images that have it.
        predicted: test images that are said to have it, at its threshold.
        precision: with Wilson interval.
        recall: with Wilson interval.
        f1: with the Wilson interval of ``wilson_f1``.
        average_precision: with a bootstrap interval; None without test images that have the label.
        auc: with DeLong's interval; None without test images that have it, or without any that have not.
        threshold: probability from which on it counts as there.
        fitted: whether validation data fitted the threshold; else it is 0.5.

    Example:
        >>> one = Estimate(1.0)
        >>> LabelRow("cat", 10, 3, 2, one, one, one, one, None, 0.5, False).auc is None
        True
    """

    name: str
    train_count: int
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    average_precision: Estimate | None
    auc: Estimate | None
    threshold: float
    fitted: bool

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "LabelRow":
        """Inverse of `dataclasses.asdict`."""
        named = ("precision", "recall", "f1", "average_precision", "auc")
        figures = {n: None if content[n] is None else Estimate.from_dict(content[n]) for n in named}
        return cls(**{**content, **figures})


@dataclass(frozen=True, slots=True)
class LabelGroup:
    """Means over a group of labels by training count, each over the labels that have the figure.

    Args:
        name: ``many``, ``medium``, ``few``, ``head``, ``middle`` or ``tail``.
        rule: what puts a label into the group, in words.
        classes: positions of its labels.
        recall: mean recall.
        macro_f1: mean F1.
        average_precision: mean average precision.
        auc: mean AUC.

    Example:
        >>> one = Estimate(1.0)
        >>> LabelGroup("few", "fewer than 20", (2,), one, one, one, one).classes
        (2,)
    """

    name: str
    rule: str
    classes: tuple[int, ...]
    recall: Estimate
    macro_f1: Estimate
    average_precision: Estimate
    auc: Estimate


@dataclass(frozen=True, slots=True)
class LabelEvaluation:
    """Figures of one set of predictions of several labels, each with an interval where one exists.

    Means over labels leave out those without test images; ``undefined`` counts them.

    Args:
        images: test images N.
        without_labels: test images that have none.
        classes: one row a label, in order.
        mean_average_precision: over labels.
        macro_auc: over labels.
        macro_f1: over labels, at the fitted thresholds.
        micro_f1: F1 of all decisions together, at the fitted thresholds.
        macro_f1_at_half: over labels, at probability 0.5.
        worst_class: the label with the lowest average precision.
        groups: many / medium / few and head / middle / tail, the empty ones left out.
        undefined: labels without an average precision (no positive) and without an AUC.

    Example:
        >>> info = ClassInfo(("cat", "dog"), (9, 3))
        >>> found = evaluate_labels([[2.0, 0.0], [0.0, 1.0]], [[1, 0], [0, 1]], info)
        >>> LabelEvaluation.from_dict(found.to_dict()) == found
        True
    """

    images: int
    without_labels: int
    classes: tuple[LabelRow, ...]
    mean_average_precision: Estimate
    macro_auc: Estimate
    macro_f1: Estimate
    micro_f1: Estimate
    macro_f1_at_half: Estimate
    worst_class: str
    groups: tuple[LabelGroup, ...]
    undefined: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        groups = [asdict(group) | {"classes": list(group.classes)} for group in self.groups]
        return {"task": TASK, **asdict(self), "classes": [asdict(r) for r in self.classes], "groups": groups}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "LabelEvaluation":
        """Inverse of `to_dict`."""
        rest = {name: value for name, value in content.items() if name != "task"}
        figures = {name: Estimate.from_dict(content[name]) for name in FIGURES}
        rows = tuple(LabelRow.from_dict(row) for row in content["classes"])
        return cls(**{**rest, **figures, "classes": rows, "groups": tuple(map(_group_of, content["groups"]))})

    def row(self, name: str) -> LabelRow:
        """The row of a label.

        Raises:
            InputError: there is none of that name.
        """
        for row in self.classes:
            if row.name == name:
                return row
        raise InputError(f"label must be one of {len(self.classes)}, got {name!r}; check its name")


def _group_of(content: dict[str, Any]) -> LabelGroup:
    figures = {n: Estimate.from_dict(content[n]) for n in ("recall", "macro_f1", "average_precision", "auc")}
    return LabelGroup(**{**content, **figures, "classes": tuple(content["classes"])})


@dataclass(frozen=True, slots=True)
class _Draws:
    """Figures of R resamples [R, L], NaN where a resample has no image of the label, and micro-F1 [R]."""

    average_precision: Floats
    auc: Floats
    f1: Floats
    f1_at_half: Floats
    recall: Floats
    micro_f1: Floats


def evaluate_labels(
    logits: Values,
    target: Values,
    labels: ClassInfo,
    thresholds: LabelThresholds | None = None,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> LabelEvaluation:
    """Evaluate logits against targets of several labels an image.

    Intervals: Wilson for precision, recall and F1 of a label, DeLong for its AUC, bootstrap over test images
    for its average precision (Wilson over its positives where no resample differs) and for every mean over
    labels: the same images are drawn for all labels, since those of one image depend on one another. Those of
    average precision are freed of its bias (`debiased_percentile`). Where no resample differs, as without any
    error, the intervals of the labels are combined instead, and micro-F1 takes that of `wilson_f1`.

    Args:
        logits: [N, L], finite.
        target: zeros and ones [N, L].
        labels: names and training counts of the L labels.
        thresholds: fitted on validation data; 0.5 for every label by default.
        seed: of the bootstrap.
        resamples: bootstrap resamples; 0 leaves its intervals out.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: a shape or a value does not fit, or no label has a positive image.

    Source: average precision as scikit-learn defines it; AUC is the share of pairs in order, ties half;
    macro-averages of multi-label learning (Zhang and Zhou 2014). The intervals are ours.

    Example:
        >>> info = ClassInfo(("cat", "dog"), (9, 3))
        >>> found = evaluate_labels([[2.0, 0.0], [0.0, 1.0]], [[1, 0], [0, 1]], info)
        >>> print(found.mean_average_precision, found.macro_auc)
        1.000 [0.439, 1.000] 1.000 [0.439, 1.000]
    """
    in_range("level", level, 0, 1, exclusive=True)
    in_range("resamples", resamples, 0)
    z, y = checked_labels(logits, target, labels.num_classes)
    if not y.any():
        raise InputError(f"target must hold a positive image of a label, got none in {len(y)}; add some")
    half = LabelThresholds(np.full(z.shape[1], HALF), (False,) * z.shape[1])
    chosen = thresholds or half
    said, plain = chosen.apply(z), half.apply(z)
    whole = _drawn(z, y, said, plain, np.ones((1, len(y))))
    draws = _resampled(z, y, said, plain, seed, resamples) if resamples else None
    rows = tuple(
        _row(k, labels, z[:, k], y[:, k], said[:, k], chosen, draws, level) for k in range(z.shape[1])
    )
    known = [row for row in rows if row.average_precision is not None]
    means = _Means(whole, draws, _parts(rows, y, plain, level), level)
    return LabelEvaluation(
        images=len(y),
        without_labels=int((y.sum(1) == 0).sum()),
        classes=rows,
        mean_average_precision=means.of("average_precision"),
        macro_auc=means.of("auc"),
        macro_f1=means.of("f1"),
        micro_f1=_percentile(
            float(whole.micro_f1[0]),
            None if draws is None else draws.micro_f1,
            level,
            wilson_f1(int((y & said).sum()), int(y.sum()), int(said.sum()), level),
        ),
        macro_f1_at_half=means.of("f1_at_half"),
        worst_class=min(known, key=lambda row: row.average_precision.value).name,  # type: ignore[union-attr]
        groups=_groups(labels.counts, means),
        undefined={
            "average_precision": sum(row.average_precision is None for row in rows),
            "auc": sum(row.auc is None for row in rows),
        },
    )


def _resampled(
    z: Floats, y: NDArray[np.uint8], said: NDArray[Any], plain: NDArray[Any], seed: int, resamples: int
) -> _Draws:
    """Figures of images drawn with replacement, a block of resamples at a time."""
    random, images = np.random.default_rng(seed), len(y)
    block, parts = max(1, _BLOCK // images), []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = random.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        parts.append(_drawn(z, y, said, plain, weights))
    return _Draws(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(_Draws)))


def _drawn(
    z: Floats, y: NDArray[np.uint8], said: NDArray[Any], plain: NDArray[Any], weights: Floats
) -> _Draws:
    rankings = [ranked(z[:, k], y[:, k].astype(np.float64), weights) for k in range(z.shape[1])]
    support = weights @ y
    tuned = _f1(weights, y, said, support)
    at_half = _f1(weights, y, plain, support)
    hits, predicted = weights @ (y & said), weights @ said
    everything = predicted.sum(1) + support.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        micro = np.where(everything > 0, 2 * hits.sum(1) / everything, 0.0)
        recall = np.where(support > 0, hits / support, np.nan)
    precisions, areas = (np.stack(parts, 1) for parts in zip(*rankings, strict=True))
    return _Draws(precisions, areas, tuned, at_half, recall, micro)


def _f1(weights: Floats, y: NDArray[np.uint8], said: NDArray[Any], support: Floats) -> Floats:
    """F1 [R, L], NaN for labels without positives."""
    hits, predicted = weights @ (y & said), weights @ said
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(support > 0, 2 * hits / (predicted + support), np.nan)
    return found


def _row(
    k: int,
    labels: ClassInfo,
    z: Floats,
    y: NDArray[np.uint8],
    said: NDArray[Any],
    thresholds: LabelThresholds,
    draws: _Draws | None,
    level: float,
) -> LabelRow:
    support, predicted, hits = int(y.sum()), int(said.sum()), int((y & said).sum())
    precision = None
    if support:
        value = float(ranked(z, y.astype(np.float64), np.ones((1, len(y)))).average_precision[0])
        drawn = None if draws is None else draws.average_precision[:, k]
        wide = wilson(value * support, support, level)
        wide = replace(wide, how=f"Wilson {level:.0%} over the label's images")
        precision = _percentile(value, drawn, level, wide, debiased_percentile)
    return LabelRow(
        labels.names[k],
        labels.counts[k],
        support,
        predicted,
        wilson(hits, predicted, level),
        wilson(hits, support, level),
        wilson_f1(hits, support, predicted, level),
        precision,
        auc_interval(z, y, level),
        float(thresholds.values[k]),
        thresholds.fitted[k],
    )


def _percentile(
    value: float, draws: Floats | None, level: float, wide: Estimate | None, between: _Between = percentile
) -> Estimate:
    """``wide`` where no resample differs: the bootstrap would give a point there, however few the images."""
    known = None if draws is None else draws[~np.isnan(draws)]
    if known is None or not len(known):
        return Estimate(value)
    if wide is not None and np.ptp(known) <= _NO_SPREAD:
        return replace(wide, value=value)
    return between(value, known, level)


def _parts(
    rows: Sequence[LabelRow], y: NDArray[np.uint8], plain: NDArray[Any], level: float
) -> dict[str, list[Estimate | None]]:
    """Figures of every label with their own intervals, by the names that `_Draws` has for them."""
    counts = zip((y & plain).sum(0).tolist(), y.sum(0).tolist(), plain.sum(0).tolist(), strict=True)
    names = ("average_precision", "auc", "f1", "recall")
    found: dict[str, list[Estimate | None]] = {name: [getattr(row, name) for row in rows] for name in names}
    return found | {"f1_at_half": [wilson_f1(*count, level) for count in counts]}


@dataclass(frozen=True, slots=True)
class _Means:
    """Means over labels, from the whole test set, its resamples and the figures of every label."""

    whole: _Draws
    draws: _Draws | None
    parts: dict[str, list[Estimate | None]]
    level: float

    def of(self, name: str, labels: Sequence[int] = ()) -> Estimate:
        """Mean over labels that have the figure, with the percentiles of the same mean over resamples."""
        values = getattr(self.whole, name)
        drawn = None if self.draws is None else _of(getattr(self.draws, name), labels)
        between = debiased_percentile if name == "average_precision" else percentile
        chosen = labels or range(values.shape[1])
        known = [part for k in chosen if (part := self.parts[name][k]) and not np.isnan(values[0, k])]
        wide = combined(known) if known and drawn is not None else None
        return _percentile(float(_of(values, labels)[0]), drawn, self.level, wide, between)


def _of(values: Floats, labels: Sequence[int]) -> Floats:
    """Mean [R] over some labels, or all; NaN where a resample has no positive image of any."""
    chosen = values[:, list(labels)] if labels else values
    known = ~np.isnan(chosen)
    number = known.sum(1)
    found: Floats = np.where(number > 0, np.nansum(chosen, 1) / np.maximum(number, 1), np.nan)
    return found


def _groups(counts: Sequence[int], means: _Means) -> tuple[LabelGroup, ...]:
    found = []
    for name, members in {**shots(counts), **thirds(counts)}.items():
        if not np.isnan(means.whole.average_precision[0, list(members)]).all():
            named = ("recall", "f1", "average_precision", "auc")
            figures = (means.of(figure, members) for figure in named)
            found.append(LabelGroup(name, RULES[name], members, *figures))
    return tuple(found)
