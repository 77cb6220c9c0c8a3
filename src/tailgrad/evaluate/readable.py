"""An evaluation as a table to read: one row a class, and the figures over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tailgrad.evaluate.estimate import Estimate
    from tailgrad.evaluate.result import Evaluation

HEADER = ("class", "train", "test", "precision", "recall", "F1")
_NAME = 60  # characters of a class name before the rest is cut


def table_rows(evaluation: Evaluation) -> list[list[str]]:
    """One row a class under ``HEADER``: training and test images, then shares with their intervals.

    Example: see ``as_table``.
    """
    return [
        [
            _named(row.name),
            str(row.train_count),
            str(row.support),
            *(share(figure) for figure in (row.precision, row.recall, row.f1)),
        ]
        for row in evaluation.classes
    ]


def as_table(evaluation: Evaluation) -> str:
    """The rows as aligned text.

    Example:
        >>> from tailgrad.evaluate import evaluate_predictions
        >>> from tailgrad.types import ClassInfo
        >>> info = ClassInfo(("fine", "broken"), (95, 5))
        >>> print(as_table(evaluate_predictions([0, 0, 0, 1], [0, 0, 1, 1], info)))
        class   train  test  precision       recall          F1
        ───────────────────────────────────────────────────────────────────
        fine       95     2  0.67 [.21-.94]  1.00 [.34-1.0]  0.80 [.34-.97]
        broken      5     2  1.00 [.21-1.0]  0.50 [.09-.91]  0.67 [.17-.95]
    """
    rows = table_rows(evaluation)
    wide = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]
    rule = "─" * (sum(wide) + 2 * (len(wide) - 1))
    lines = [
        _line(HEADER, wide),
        rule,
        *(_line(row, wide) for row in rows),
    ]
    return "\n".join(lines)


def headline(evaluation: Evaluation) -> str:
    """Macro-F1 and accuracy with their intervals.

    Example: see ``Evaluation``.
    """
    return f"macro-F1 {evaluation.macro_f1}   accuracy {evaluation.accuracy}"


def share(figure: Estimate) -> str:
    """A share with its interval in few characters.

    Example:
        >>> from tailgrad.evaluate.estimate import Estimate
        >>> share(Estimate(0.5, 0.4, 1.0)), share(Estimate(0.5))
        ('0.50 [.40-1.0]', '0.50')
    """
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    low, high = (f"{end:.2f}".removeprefix("0").replace("1.00", "1.0") for end in (figure.low, figure.high))
    return f"{figure.value:.2f} [{low}-{high}]"


def _line(cells: Sequence[str], wide: Sequence[int]) -> str:
    """Counts to the right, the rest to the left."""
    found = [
        cell.rjust(width) if place in (1, 2) else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, wide, strict=True))
    ]
    return "  ".join(found).rstrip()


def _named(name: str) -> str:
    # What could rewrite a terminal is shown as question marks.
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 3]}..."
