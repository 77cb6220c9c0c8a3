"""Whole numbers of images that print as a table does: supports, correct and predicted ones of each class."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from tailgrad.checks import in_range
from tailgrad.evaluate.interval_search import Budget, Options, Rows, SearchStoppedError, search
from tailgrad.evaluate.printed_table import EITHER, MEANS, PrintedColumn, PrintedTable, Span, span

MOST_SOLUTIONS = 50
STEPS = 50_000
MOST_BOUND = 3000
_MOST_OPTIONS = 20_000
_ANY = span(None, 1)


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """Whole numbers behind the column of one model.

    Args:
        true_positive: correct images of each class [K].
        predicted: images predicted as each class [K].

    Example:
        >>> ColumnCounts((3,), (10,)).predicted
        (10,)
    """

    true_positive: tuple[int, ...]
    predicted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TableCounts:
    """Whole numbers behind a table; every column has the same test images.

    Args:
        supports: test images of each class [K].
        columns: the counts of each model.

    Example:
        >>> TableCounts((13,), (ColumnCounts((3,), (10,)),)).images
        13
    """

    supports: tuple[int, ...]
    columns: tuple[ColumnCounts, ...]

    @property
    def images(self) -> int:
        """Number of test images."""
        return sum(self.supports)

    def is_multiple_of(self, other: "TableCounts") -> bool:
        """Whether every number is the same multiple of that of ``other``."""
        return all(
            a * other.images == b * self.images for a, b in zip(self._all(), other._all(), strict=True)
        )

    def _all(self) -> list[int]:
        columns = [(*column.true_positive, *column.predicted) for column in self.columns]
        return [*self.supports, *(count for column in columns for count in column)]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """All whole numbers that print as a table does, as far as the search went.

    Args:
        solutions: those found, fewest test images first.
        complete: whether these are all below the bound.
        bound: largest support that was tried; None where supports or their sum were given.

    Example:
        >>> Reconstruction((), True, 90).complete
        True
    """

    solutions: tuple[TableCounts, ...]
    complete: bool
    bound: int | None

    @property
    def unique(self) -> TableCounts | None:
        """The smallest solution where all others are its multiples; None where there are, or may be, more."""
        alike = self.complete and all(found.is_multiple_of(self.solutions[0]) for found in self.solutions)
        return self.solutions[0] if self.solutions and alike else None


def reconstruct(
    table: PrintedTable, reading: str = EITHER, *, bound: int = 100, use_f1: bool = True, steps: int = STEPS
) -> Reconstruction:
    """Find whole numbers that give every figure of a table at once.

    For support n and correct images t of a class, ``R = t / n``, ``P = t / q`` and ``F1 = 2t / (n + q)``
    leave intervals for t and q. Over the classes, images and predictions both number N, every mean prints as
    it does, and no class has more errors than there are: ``(n - t) + (q - t) <= N - sum t``. That and equal
    sums is all that a confusion matrix needs.

    Args:
        table: the figures.
        reading: one of `READINGS`: whether figures are rounded or truncated.
        bound: largest support of a class that is tried where neither supports nor their sum are known, at
            most `MOST_BOUND`.
        use_f1: whether F1 and means come from the counts; else they may have been made from printed figures.
        steps: choices to try before the search gives up.

    Returns:
        Up to `MOST_SOLUTIONS` solutions; the search is not complete where there are as many, or it gave up.

    Raises:
        InputError: an unknown reading, or a bound out of range.

    Example:
        >>> from decimal import Decimal
        >>> halves = (Decimal("0.5"), Decimal("0.5"))
        >>> table = PrintedTable(("a", "b"), (PrintedColumn("m", halves, halves, halves, {}),), 1, (2, 2))
        >>> reconstruct(table, "rounded").solutions[0].columns[0].true_positive
        (1, 1)
    """
    given = table.size
    largest = int(in_range("bound", bound, 1, MOST_BOUND)) if given is None else given
    budget = Budget(steps)
    found: list[TableCounts] = []
    try:
        classes = _Classes(table, reading, use_f1, largest)
        for images in [given] if given is not None else classes.sizes():
            found += islice(classes.solutions(images, budget), MOST_SOLUTIONS - len(found))
            if len(found) == MOST_SOLUTIONS:
                break
    except SearchStoppedError:
        return Reconstruction(tuple(found), False, None if given is not None else bound)
    complete = len(found) < MOST_SOLUTIONS
    return Reconstruction(tuple(found), complete, None if given is not None else bound)


class _Counts(NamedTuple):
    """Correct images of a class, and the fewest and most images predicted as it."""

    correct: int
    least: int
    most: int


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _class_counts(support: int, precision: Span, recall: Span, f1: Span, images: int) -> list[_Counts]:
    """The counts of a class with ``support`` images that print as its figures do."""
    if not support and recall.low > 0:
        return []
    least = _ceil(support * recall.low.numerator, recall.low.denominator)
    most = support * recall.high.numerator // recall.high.denominator
    if most - least > _MOST_OPTIONS:
        raise SearchStoppedError
    found = (_predicted(correct, support, precision, f1, images) for correct in range(least, most + 1))
    return [counts for counts in found if counts.least <= counts.most]


def _predicted(correct: int, support: int, precision: Span, f1: Span, images: int) -> _Counts:
    if correct == 0:
        return _Counts(0, 0, images if precision.low == f1.low == 0 else -1)
    least = max(correct, _ceil(correct * precision.high.denominator, precision.high.numerator))
    least = max(least, _ceil(2 * correct * f1.high.denominator, f1.high.numerator) - support)
    most = images
    if precision.low:
        most = min(most, correct * precision.low.denominator // precision.low.numerator)
    if f1.low:
        most = min(most, 2 * correct * f1.low.denominator // f1.low.numerator - support)
    return _Counts(correct, least, most)


def _weighted(mean: str, support: int, correct: int, predicted: int) -> float:
    """What a class adds to a mean, times the number of classes or of images."""
    if mean == "accuracy":
        return correct
    kind, measure = mean.split("_")
    part, whole = {
        "precision": (correct, predicted),
        "recall": (correct, support),
        "f1": (2 * correct, support + predicted),
    }[measure]
    return (support if kind == "weighted" else 1) * (part / whole if whole else 0.0)


def _rows(support: int, counts: Sequence[_Counts], means: Sequence[str]) -> Options:
    """Predicted images and shares in each mean; precision and F1 fall as predictions grow."""
    low = [[c.least, *(_weighted(m, support, c.correct, c.most) for m in means)] for c in counts]
    high = [[c.most, *(_weighted(m, support, c.correct, c.least) for m in means)] for c in counts]
    shape = (len(counts), 1 + len(means))
    return Options(np.array(low, float).reshape(shape), np.array(high, float).reshape(shape))


class _Column:
    """One model: what its classes may hold, given their supports."""

    def __init__(self, table: PrintedTable, column: PrintedColumn, reading: str, use_f1: bool) -> None:
        self.means = [m for m in MEANS if m in column.means and (use_f1 or m == "accuracy")]
        self.mean_spans = [table.mean_span(column, mean, reading) for mean in self.means]
        precision, recall = (table.spans(column, measure, reading) for measure in ("precision", "recall"))
        f1 = table.spans(column, "f1", reading) if use_f1 else [_ANY] * len(table.classes)
        self.spans = list(zip(precision, recall, f1, strict=True))

    def counts(self, k: int, support: int, images: int) -> list[_Counts]:
        return _class_counts(support, *self.spans[k], images)

    def bounds(self, images: int) -> tuple[list[float], list[float]]:
        wholes = [len(self.spans) if mean.startswith("macro") else images for mean in self.means]
        ends = list(zip(wholes, self.mean_spans, strict=True))
        return (
            [images, *(float(whole * s.low) for whole, s in ends)],
            [images, *(float(whole * s.high) for whole, s in ends)],
        )

    def solutions(self, supports: Sequence[int], budget: Budget) -> Iterator[ColumnCounts]:
        """First the correct images of every class, then the predicted ones."""
        images = sum(supports)
        least, most = map(np.array, self.bounds(images))
        options = [self.counts(k, support, images) for k, support in enumerate(supports)]
        rows = [_rows(n, counts, self.means) for n, counts in zip(supports, options, strict=True)]
        for choice in search(rows, least, most, budget):
            chosen = [counts[i] for counts, i in zip(options, choice, strict=True)]
            errors = images - sum(counts.correct for counts in chosen)
            yield from self._predictions(supports, chosen, errors, (least, most), budget)

    def _predictions(
        self,
        supports: Sequence[int],
        chosen: Sequence[_Counts],
        errors: int,
        bounds: tuple[Rows, Rows],
        budget: Budget,
    ) -> Iterator[ColumnCounts]:
        points, rows = [], []
        for support, (correct, least, most) in zip(supports, chosen, strict=True):
            most = min(most, errors - support + 2 * correct)
            if most - least > _MOST_OPTIONS:
                raise SearchStoppedError
            points.append([_Counts(correct, q, q) for q in range(least, most + 1)])
            rows.append(_rows(support, points[-1], self.means))
        correct_images = tuple(counts.correct for counts in chosen)
        for choice in search(rows, *bounds, budget):
            predicted = tuple(group[i].least for group, i in zip(points, choice, strict=True))
            yield ColumnCounts(correct_images, predicted)


class _Classes:
    """The supports that every class may have, and what each of them allows every model."""

    def __init__(self, table: PrintedTable, reading: str, use_f1: bool, largest: int) -> None:
        self.columns = [_Column(table, column, reading, use_f1) for column in table.columns]
        most = largest * len(table.classes) if table.size is None else largest
        if table.supports is not None:
            tried = [[support] for support in table.supports]
        else:
            tried = [list(range(1, largest + 1)) for _ in table.classes]
        if max(map(len, tried)) > MOST_BOUND:
            raise SearchStoppedError
        self.supports: list[list[int]] = []
        self.options: list[Options] = []
        for k, supports in enumerate(tried):
            self._add(k, supports, most)

    def _add(self, k: int, supports: Sequence[int], most: int) -> None:
        kept, low, high = [], [], []
        for support in supports:
            rows = [_rows(support, c.counts(k, support, most), c.means) for c in self.columns]
            if all(len(options.low) for options in rows):
                kept.append(support)
                low.append(np.concatenate([[support], *(options.low.min(0) for options in rows)]))
                high.append(np.concatenate([[support], *(options.high.max(0) for options in rows)]))
        self.supports.append(kept)
        width = 1 + sum(1 + len(column.means) for column in self.columns)
        shape = (len(kept), width)
        self.options.append(Options(np.reshape(low, shape), np.reshape(high, shape)))

    def sizes(self) -> range:
        """Numbers of test images that the supports can sum to."""
        if not all(self.supports):
            return range(0)
        return range(sum(map(min, self.supports)), sum(map(max, self.supports)) + 1)

    def solutions(self, images: int, budget: Budget) -> Iterator[TableCounts]:
        bounds = [column.bounds(images) for column in self.columns]
        least = np.array([images, *(value for low, _ in bounds for value in low)], float)
        most = np.array([images, *(value for _, high in bounds for value in high)], float)
        for choice in search(self.options, least, most, budget):
            supports = tuple(tried[i] for tried, i in zip(self.supports, choice, strict=True))
            columns = self._column_solutions(supports, budget)
            yield from (TableCounts(supports, counts) for counts in product(*columns))

    def _column_solutions(self, supports: Sequence[int], budget: Budget) -> list[list[ColumnCounts]]:
        """Some solutions of every model; where one has none, the others are not looked for."""
        found = []
        for column in self.columns:
            found.append(list(islice(column.solutions(supports, budget), MOST_SOLUTIONS)))
            if not found[-1]:
                break
        return found
