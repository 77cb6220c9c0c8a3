"""Everything that is said about one set of predictions, from logits or from predicted classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.bootstrap import Resamples, bootstrap, mean_f1, percentile
from tailgrad.evaluate.calibration import expected_calibration_error
from tailgrad.evaluate.cells import Confusion
from tailgrad.evaluate.confusion import Values, as_numpy
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.groups import evaluate_groups
from tailgrad.evaluate.intervals import combined, student_t, wilson, wilson_f1
from tailgrad.evaluate.metrics import geometric_mean
from tailgrad.evaluate.result import ClassRow, Evaluation
from tailgrad.evaluate.scored import Scored, scored
from tailgrad.types import ClassInfo


def _rows(
    confusion: Confusion, info: ClassInfo, class_ece: Sequence[float] | None, level: float
) -> tuple[ClassRow, ...]:
    rows = []
    margins = zip(
        *(n.tolist() for n in (confusion.correct, confusion.support, confusion.predicted)), strict=True
    )
    for k, (name, count, counts) in enumerate(zip(info.names, info.counts, margins, strict=True)):
        correct, support, predicted = counts
        figures = (wilson(correct, predicted, level), wilson(correct, support, level))
        ece = None if class_ece is None else class_ece[k]
        rows.append(
            ClassRow(
                name, count, support, predicted, *figures, wilson_f1(correct, support, predicted, level), ece
            )
        )
    return tuple(rows)


def _g_mean(recalls: Sequence[Estimate], draws: Resamples | None, level: float) -> Estimate:
    ends = np.array([(part.value, part.low, part.high) for part in recalls], dtype=np.float64)
    value, low, high = (float(end) for end in geometric_mean(ends.T))
    if draws is None:
        return Estimate(value)
    drawn = geometric_mean(draws.recall)
    if np.ptp(drawn) == 0:
        return Estimate(value, low, high, "Wilson ends of every recall at once")
    return percentile(value, drawn, level)


@dataclass(frozen=True, slots=True)
class _Scores:
    """What only probabilities can tell."""

    ece: float | None = None
    class_ece: Sequence[float] | None = None
    nll: Estimate | None = None


def _scores(found: Scored, target: Values, level: float) -> _Scores:
    mean = student_t(found.nll.tolist(), level)
    how = f"Student t {level:.0%} over images" if mean.low is not None else "no spread: no interval"
    right = found.predicted == as_numpy(target)
    ece = expected_calibration_error(found.confidence, right)
    return _Scores(ece, found.class_ece.tolist(), Estimate(mean.value, mean.low, mean.high, how))


def _from_confusion(
    confusion: Confusion, info: ClassInfo, draws: Resamples | None, level: float, scores: _Scores
) -> Evaluation:
    rows = _rows(confusion, info, scores.class_ece, level)
    recalls, f1s = [row.recall for row in rows], [row.f1 for row in rows]
    return Evaluation(
        images=confusion.images,
        classes=rows,
        macro_f1=mean_f1(f1s, None if draws is None else draws.f1, level),
        accuracy=wilson(int(confusion.correct.sum()), confusion.images, level),
        balanced_accuracy=combined(recalls),
        g_mean=_g_mean(recalls, draws, level),
        worst_class=min((row for row in rows if row.support), key=lambda row: row.f1.value).name,
        confusion=confusion,
        groups=evaluate_groups(info.counts, recalls, f1s, draws, level),
        undefined=_undefined(rows),
        ece=scores.ece,
        nll=scores.nll,
    )


def _undefined(rows: Sequence[ClassRow]) -> dict[str, int]:
    return {
        "precision": sum(row.predicted == 0 for row in rows),
        "recall": sum(row.support == 0 for row in rows),
        "f1": sum(row.predicted + row.support == 0 for row in rows),
    }


def _draws(confusion: Confusion, seed: int, resamples: int, level: float) -> Resamples | None:
    in_range("level", level, 0, 1, exclusive=True)
    in_range("resamples", resamples, 0)
    return bootstrap(confusion, seed=seed, resamples=resamples) if resamples else None


def _refuse_others(classes: object) -> None:
    if not isinstance(classes, ClassInfo):
        raise InputError(
            f"classes must be a ClassInfo of names and training counts, got {type(classes).__name__}; give "
            "ClassInfo(names, counts) from tailgrad.types"
        )


def evaluate_predictions(
    predicted: Values,
    target: Values,
    classes: ClassInfo,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Evaluation:
    """Evaluate predicted classes: everything `evaluate` says except calibration and likelihood.

    Args:
        predicted: predicted class indices [N].
        target: true class indices [N].
        classes: names and training counts of the K classes.
        seed: of the bootstrap.
        resamples: bootstrap resamples; 0 leaves out the intervals of macro-F1 and G-mean.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: empty, of different lengths, an index outside [0, K-1], a parameter out of range.

    Example:
        >>> result = evaluate_predictions([0, 1, 1], [0, 0, 1], ClassInfo(("cat", "dog"), (9, 3)))
        >>> round(result.macro_f1.value, 3), result.undefined
        (0.667, {'precision': 0, 'recall': 0, 'f1': 0})
    """
    _refuse_others(classes)
    confusion = Confusion.counted(predicted, target, classes.num_classes)
    return _from_confusion(confusion, classes, _draws(confusion, seed, resamples, level), level, _Scores())


def evaluate(
    logits: Values,
    target: Values,
    classes: ClassInfo,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Evaluation:
    """Evaluate logits against targets.

    Zero denominators give 0 and are counted in ``undefined``; no class is dropped from a mean. Intervals:
    Wilson for precision, recall, accuracy and F1 of a class, Wilson combined for mean recall, bootstrap
    over test images for macro-F1 (`mean_f1`) and G-mean.

    Args:
        logits: [N, K], finite.
        target: true class indices [N].
        classes: names and training counts of the K classes.
        seed: of the bootstrap.
        resamples: bootstrap resamples; 0 leaves out the intervals of macro-F1 and G-mean.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: empty, of different lengths, K columns wanted and others given, an index outside [0, K-1],
            logits that are not finite, a parameter out of range.

    Source: CSBA paper (arXiv 2606.05740) eq 56-58 for the figures; the intervals are ours.

    Example:
        >>> result = evaluate([[2.0, 0.0], [0.0, 1.0]], [0, 1], ClassInfo(("cat", "dog"), (9, 3)))
        >>> print(result.accuracy)
        1.000 [0.342, 1.000]
    """
    _refuse_others(classes)
    found = scored(logits, target, classes.num_classes)
    confusion = Confusion.counted(found.predicted, target, classes.num_classes)
    draws = _draws(confusion, seed, resamples, level)
    return _from_confusion(confusion, classes, draws, level, _scores(found, target, level))
