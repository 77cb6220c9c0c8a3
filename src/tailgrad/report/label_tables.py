"""Tables of runs whose images have several labels."""

from collections.abc import Mapping, Sequence

import numpy as np

from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.several_labels import LabelEvaluation
from tailgrad.interference.label_conflict import LabelConflict
from tailgrad.report.blocks import Table
from tailgrad.report.wording import NOTHING, estimate, interval, number, signed

_MOST_PAIRS = 10


def label_table(evaluation: LabelEvaluation) -> Table:
    """Every label with its figures, most training images first.

    Example:
        >>> from tailgrad.evaluate.several_labels import evaluate_labels
        >>> from tailgrad.types import ClassInfo
        >>> info = ClassInfo(("cat", "dog"), (3, 9))
        >>> label_table(evaluate_labels([[2.0, 0.0], [0.0, 1.0]], [[1, 0], [0, 1]], info)).rows[0][:3]
        ('dog', '9', '1')
    """
    header = (
        "label",
        "train",
        "test",
        "average precision",
        "AUC",
        "F1",
        "precision",
        "recall",
        "threshold",
    )
    rows = tuple(
        (
            row.name,
            str(row.train_count),
            str(row.support),
            *(_known(figure) for figure in (row.average_precision, row.auc, row.f1)),
            *(_known(figure) for figure in (row.precision, row.recall)),
            f"{row.threshold:.3f}" if row.fitted else "0.5 (not fitted)",
        )
        for row in sorted(evaluation.classes, key=lambda row: -row.train_count)
    )
    return Table("Every label on the test images, with 95 % intervals", header, rows)


def label_group_table(evaluation: LabelEvaluation) -> Table:
    """Means over rare and frequent labels.

    Example:
        >>> from tailgrad.evaluate.several_labels import evaluate_labels
        >>> from tailgrad.types import ClassInfo
        >>> info = ClassInfo(("cat", "dog"), (300, 9))
        >>> found = evaluate_labels([[2.0, 0.0], [0.0, 1.0]], [[1, 0], [0, 1]], info)
        >>> [row[0] for row in label_group_table(found).rows]
        ['many', 'few', 'head', 'tail']
    """
    rows = tuple(
        (
            group.name,
            group.rule.replace("classes", "labels"),
            str(len(group.classes)),
            *(estimate(one) for one in (group.average_precision, group.auc, group.macro_f1, group.recall)),
        )
        for group in evaluation.groups
    )
    header = ("group", "labels with", "labels", "average precision", "AUC", "F1", "recall")
    return Table("Rare and frequent labels: means with 95 % intervals", header, rows)


def side_table(found: LabelConflict) -> Table:
    """How much of each label's gradient comes from its positives.

    Example: see ``label_report``.
    """
    rows = tuple(
        (
            name,
            str(int(found.positives[k])),
            _share(found.positive_share[k], found.share_low[k], found.share_high[k]),
            _number(found.opposition[k]),
            _number(_ratio(found, k)),
        )
        for k, name in enumerate(found.label_names)
    )
    header = ("label", "positives measured", "share of positives", "their cosine", "at the logits")
    return Table("Positive and negative side of every label's gradient, 90 % intervals", header, rows)


def opposed_table(found: LabelConflict) -> Table:
    """Pairs of labels that oppose one another beyond the null, or nothing but the header.

    Example: see ``label_report``.
    """
    place = {name: k for k, name in enumerate(found.label_names)}
    rows = []
    for one, other, excess in found.opposed()[:_MOST_PAIRS]:
        i, j = place[one], place[other]
        ends = interval(float(found.low[i, j]), float(found.high[i, j]), sign=True)
        rows.append((f"{one} and {other}", signed(excess), ends, _number(found.null[i, j])))
    header = ("labels", "excess conflict", "90 %", "null")
    return Table("Labels that oppose one another beyond the null", header, tuple(rows))


def methods_table(found: Mapping[str, Sequence[LabelEvaluation]]) -> Table:
    """Average precision of every label, mean over the runs of each method.

    Args:
        found: evaluations of each method's runs.

    Example: see ``label_report``.
    """
    first = next(iter(found.values()))[0]
    rows = []
    for k in sorted(range(len(first.classes)), key=lambda k: -first.classes[k].train_count):
        cells = []
        for runs in found.values():
            values = [run.classes[k].average_precision for run in runs]
            known = [one.value for one in values if one is not None]
            cells.append(number(float(np.mean(known))) if known else NOTHING)
        rows.append((first.classes[k].name, str(first.classes[k].train_count), *cells))
    return Table("Average precision of every label, mean over runs", ("label", "train", *found), tuple(rows))


def _known(figure: Estimate | None) -> str:
    return NOTHING if figure is None else estimate(figure)


def _number(value: float) -> str:
    return number(float(value)) if np.isfinite(value) else NOTHING


def _share(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return NOTHING
    return f"{value:.2f}" if not np.isfinite(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _ratio(found: LabelConflict, k: int) -> float:
    total = found.logit_positive[k] + found.logit_negative[k]
    return float(found.logit_positive[k] / total) if total > 0 else float("nan")
