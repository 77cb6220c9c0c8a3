"""A table as it is printed, to so many decimals, and the exact values that each figure may stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from tailgrad.checks import InputError, in_range, one_of

ROUNDED, TRUNCATED, EITHER = "rounded", "truncated", "rounded or truncated"
READINGS = (ROUNDED, TRUNCATED, EITHER)
MEASURES = ("precision", "recall", "f1")
MEANS = ("accuracy", *(f"{kind}_{name}" for kind in ("macro", "weighted") for name in MEASURES))
MOST_DECIMALS = 6
MOST_IMAGES = 10**8

# Truncation never reaches the next unit; fractions of MOST_IMAGES at MOST_DECIMALS stay farther away.
_OPEN = Fraction(1, 10 * MOST_IMAGES * 10**MOST_DECIMALS)

Figures = tuple[Decimal | None, ...]


class Span(NamedTuple):
    """The values from ``low`` to ``high``, both included.

    Example:
        >>> Span(Fraction(0), Fraction(1, 2)).meets(Span(Fraction(1, 2), Fraction(1)))
        True
    """

    low: Fraction
    high: Fraction

    def meets(self, other: "Span") -> bool:
        """Whether some value lies in both."""
        return self.low <= other.high and other.low <= self.high


def span(figure: Decimal | None, decimals: int, reading: str = EITHER) -> Span:
    """The shares that print as ``figure``; all of them where nothing is printed.

    Rounding takes in both ends, since half a unit may go either way. Truncation takes in the lower end.

    Args:
        figure: a share in [0, 1], or None.
        decimals: digits after the point.
        reading: one of `READINGS`.

    Raises:
        InputError: an unknown reading.

    Example:
        >>> [float(end) for end in span(Decimal("0.23"), 2, "rounded")]
        [0.225, 0.235]
    """
    one_of("reading", reading, READINGS)
    if figure is None:
        return Span(Fraction(0), Fraction(1))
    exact, unit = Fraction(figure), Fraction(1, 10**decimals)
    below = Fraction(0) if reading == TRUNCATED else unit / 2
    above = unit / 2 if reading == ROUNDED else unit - _OPEN
    return Span(max(Fraction(0), exact - below), min(Fraction(1), exact + above))


@dataclass(frozen=True, slots=True)
class PrintedColumn:
    """The figures of one model.

    Args:
        name: the model.
        precision: one figure a class [K], None where it is not printed.
        recall: the same.
        f1: the same.
        means: figures over all classes by name, any of `MEANS`.

    Example:
        >>> PrintedColumn("ours", (None,), (Decimal("0.9"),), (None,), {}).has("recall")
        True
    """

    name: str
    precision: Figures
    recall: Figures
    f1: Figures
    means: Mapping[str, Decimal]

    def figures(self, measure: str) -> Figures:
        """The figures of precision, recall or f1."""
        found: Figures = getattr(self, one_of("measure", measure, MEASURES))
        return found

    def has(self, *measures: str) -> bool:
        """Whether every class has a figure of each of these."""
        return all(None not in self.figures(measure) for measure in measures)


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """What a paper prints about one or more models on one test set, as shares.

    Args:
        classes: K class names.
        columns: one a model.
        decimals: digits after the point, 1 to `MOST_DECIMALS`.
        supports: test images of each class [K], or None where unknown.
        test_images: their number, or None where unknown.
        training_counts: training images of each class [K], or None.
        mean_decimals: digits of a mean by its name, where they are not ``decimals``.

    Raises:
        InputError: lengths that differ, a figure outside [0, 1] or with more decimals, an unknown mean.

    Example:
        >>> column = PrintedColumn("ours", (Decimal("0.7"),), (Decimal("1.2"),), (None,), {})
        >>> PrintedTable(("cat",), (column,), 1)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: recall of cat in ours must be a share from 0 to 1, got 1.2; ...
    """

    classes: tuple[str, ...]
    columns: tuple[PrintedColumn, ...]
    decimals: int
    supports: tuple[int, ...] | None = None
    test_images: int | None = None
    training_counts: tuple[int, ...] | None = None
    mean_decimals: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.classes and self.columns):
            raise InputError(
                f"a table must hold classes and columns, got {len(self.classes)} classes and "
                f"{len(self.columns)} columns; write the figures of one model at least"
            )
        if len(set(self.classes)) < len(self.classes):
            raise InputError(
                f"classes must be different names, got {', '.join(self.classes)}; tell them apart"
            )
        for decimals in (self.decimals, *self.mean_decimals.values()):
            in_range("decimals", decimals, 1, MOST_DECIMALS)
        if self.test_images is not None:
            in_range("test_images", self.test_images, 1, MOST_IMAGES)
        for argument, least in (("supports", 0), ("training_counts", 1)):
            self._check_counts(argument, getattr(self, argument), least)
        for column in self.columns:
            self._check_column(column)

    def _check_counts(self, what: str, counts: Sequence[int] | None, least: int) -> None:
        self._check_length(what, counts)
        for name, count in zip(self.classes, counts or (), strict=False):
            in_range(f"{what} of {name}", count, least, MOST_IMAGES)
        if counts is not None and not sum(counts):
            raise InputError(f"{what} must hold an image, got {list(counts)}; leave them out if unknown")

    def _check_length(self, what: str, values: Sequence[object] | None) -> None:
        if values is not None and len(values) != len(self.classes):
            raise InputError(
                f"{what} must have one value for each of {len(self.classes)} classes, got {len(values)}; "
                "write them in the order of the classes"
            )

    def _check_column(self, column: PrintedColumn) -> None:
        for measure in MEASURES:
            figures = column.figures(measure)
            self._check_length(f"{measure} of {column.name}", figures)
            for name, figure in zip(self.classes, figures, strict=True):
                self._check_figure(f"{measure} of {name} in {column.name}", figure, self.decimals)
        for name, figure in column.means.items():
            one_of(f"a mean of {column.name}", name, MEANS)
            self._check_figure(f"{name} of {column.name}", figure, self.decimals_of(name))

    def _check_figure(self, what: str, figure: Decimal | None, decimals: int) -> None:
        if figure is None:
            return
        if not (figure.is_finite() and 0 <= figure <= 1):
            raise InputError(
                f"{what} must be a share from 0 to 1, got {figure}; correct it, leave it blank if it is not "
                "printed, or say that the table is in percent"
            )
        if figure != round(figure, decimals):
            raise InputError(
                f"{what} must have at most {decimals} decimals, got {figure}; correct the figure or decimals"
            )

    @property
    def size(self) -> int | None:
        """Number of test images where it is known."""
        return sum(self.supports) if self.supports is not None else self.test_images

    def decimals_of(self, mean: str) -> int:
        """Digits of a mean."""
        return self.mean_decimals.get(mean, self.decimals)

    def mean_span(self, column: PrintedColumn, mean: str, reading: str = EITHER) -> Span:
        """What a mean of a column may stand for."""
        return span(column.means[mean], self.decimals_of(mean), reading)

    def spans(self, column: PrintedColumn, measure: str, reading: str = EITHER) -> list[Span]:
        """What each figure of a column may stand for [K]."""
        return [span(figure, self.decimals, reading) for figure in column.figures(measure)]
