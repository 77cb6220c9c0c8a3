"""Tables that runs and studies share."""

from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.evaluate import Evaluation
from tailgrad.report.averages import Matrix
from tailgrad.report.blocks import Folded, Table
from tailgrad.report.wording import estimate, flat, number
from tailgrad.types import ClassInfo

_MOST_ROWS = 25


def folded_if_long(table: Table) -> Table | Folded:
    """A table, behind its caption where it is long.

    Example:
        >>> folded_if_long(Table("Classes", ("class",), (("cat",),) * 100)).kind
        'folded'
    """
    return table if len(table.rows) <= _MOST_ROWS else Folded(table.caption, (table,))


def class_table(evaluation: Evaluation) -> Table:
    """Precision, recall and F1 of every class, most training images first.

    Example:
        >>> from tailgrad.evaluate import evaluate_predictions
        >>> found = evaluate_predictions([0, 1], [0, 1], ClassInfo(("cat", "dog"), (3, 9)))
        >>> class_table(found).rows[0][:3]
        ('dog', '9', '1')
    """
    rows = sorted(evaluation.classes, key=lambda row: -row.train_count)
    header = ("class", "train", "test", "predicted", "F1", "precision", "recall", "ECE")
    cells = tuple(
        (
            row.name,
            str(row.train_count),
            str(row.support),
            str(row.predicted),
            *(estimate(figure) for figure in (row.f1, row.precision, row.recall)),
            number(row.ece),
        )
        for row in rows
    )
    return Table("Every class on the test images, with 95 % intervals", header, cells)


def group_table(evaluation: Evaluation) -> Table:
    """Mean recall and macro-F1 of the groups of classes.

    Example:
        >>> from tailgrad.evaluate import evaluate_predictions
        >>> found = evaluate_predictions([0, 1], [0, 1], ClassInfo(("cat", "dog"), (300, 9)))
        >>> [row[0] for row in group_table(found).rows]
        ['many', 'few', 'head', 'tail']
    """
    rows = tuple(
        (group.name, group.rule, str(len(group.classes)), estimate(group.macro_f1), estimate(group.recall))
        for group in evaluation.groups
    )
    return Table(
        "Classes grouped by training images", ("group", "rule", "classes", "macro-F1", "mean recall"), rows
    )


def matrix_table(
    caption: str, matrix: Matrix | Sequence[Sequence[int]], classes: ClassInfo, digits: int
) -> Folded:
    """A class-by-class matrix as a folded table, in class order.

    Example:
        >>> matrix_table("Counts", [[3, 1], [0, 2]], ClassInfo(("cat", "dog"), (9, 3)), 0).blocks[0].rows[0]
        ('cat', '3', '1')
    """
    rows = tuple(
        (name, *(number(float(value), digits) for value in row))
        for name, row in zip(classes.names, matrix, strict=True)
    )
    return Folded(f"{caption}: table", (Table(caption, ("class", *classes.names), rows),))


def key_table(title: str, fields: Mapping[str, Any]) -> Folded:
    """Nested settings as a folded table of dotted keys.

    Example:
        >>> key_table("Configuration", {"optim": {"lr": 0.1}}).blocks[0].rows
        (('optim.lr', '0.1'),)
    """
    return Folded(title, (Table(title, ("key", "value"), tuple(flat(dict(fields)))),))
