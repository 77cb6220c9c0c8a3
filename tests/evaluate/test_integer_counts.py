"""Whole numbers behind printed tables, against printing every confusion matrix there is."""

import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evaluate import PrintedColumn, PrintedTable, counts_exist, reconstruct
from tailgrad.evaluate.integer_counts import MOST_SOLUTIONS

Row = tuple[int, ...]
Margins = tuple[Row, Row]


def ratio(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


def exact(supports: Row, margins: Margins) -> dict[str, list[Fraction]]:
    """Every figure of a table of these counts, by definition."""
    classes = list(zip(*margins, supports, strict=True))
    f1 = [ratio(2 * t, n + q) for t, q, n in classes]
    return {
        "precision": [ratio(t, q) for t, q, _ in classes],
        "recall": [ratio(t, n) for t, _, n in classes],
        "f1": f1,
        "accuracy": [ratio(sum(margins[0]), sum(supports))],
        "macro_f1": [sum(f1, Fraction(0)) / len(f1)],
        "weighted_f1": [ratio(1, sum(supports)) * sum(n * x for n, x in zip(supports, f1, strict=True))],
    }


def printed(value: Fraction, decimals: int, reading: str) -> set[Decimal]:
    """What a value prints as: two figures where rounding half a unit may go either way."""
    units = value * 10**decimals
    down, rest = units.numerator // units.denominator, units % 1
    ends = {down} if reading == "truncated" or rest < Fraction(1, 2) else {down + 1}
    if reading == "rounded" and rest == Fraction(1, 2):
        ends = {down, down + 1}
    return {Decimal(end).scaleb(-decimals) for end in ends}


def table_of(
    supports: Row,
    margins: Margins,
    decimals: int,
    reading: str,
    *,
    given: bool = True,
    images: int | None = None,
) -> PrintedTable:
    figures = {
        key: tuple(max(printed(x, decimals, reading)) for x in values)
        for key, values in exact(supports, margins).items()
    }
    means = {key: figures[key][0] for key in ("accuracy", "macro_f1", "weighted_f1")}
    column = PrintedColumn("m", figures["precision"], figures["recall"], figures["f1"], means)
    names = tuple(map(str, range(len(supports))))
    return PrintedTable(names, (column,), decimals, supports if given else None, images)


def margins_of(confusion: np.ndarray) -> Margins:
    return tuple(map(int, confusion.diagonal())), tuple(map(int, confusion.sum(0)))


def rows_of(total: int, classes: int) -> Iterator[Row]:
    for row in product(range(total + 1), repeat=classes):
        if sum(row) == total:
            yield row


@cache
def all_margins(supports: Row) -> frozenset[Margins]:
    """Correct and predicted images of every confusion matrix with these supports."""
    rows = [list(rows_of(n, len(supports))) for n in supports]
    return frozenset(margins_of(np.array(choice)) for choice in product(*rows))


def prints_as(table: PrintedTable, supports: Row, margins: Margins, reading: str) -> bool:
    column, values = table.columns[0], exact(supports, margins)
    wanted = {m: column.figures(m) for m in ("precision", "recall", "f1")}
    wanted |= {name: (figure,) for name, figure in column.means.items()}
    return all(
        figure in printed(value, table.decimals, reading)
        for name, figures in wanted.items()
        for figure, value in zip(figures, values[name], strict=True)
    )


matrices = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 9), min_size=k, max_size=k), min_size=k, max_size=k)
)
readings = st.sampled_from(["rounded", "truncated"])


@settings(deadline=None, max_examples=60)
@given(matrices, st.integers(1, 4), readings)
def test_a_table_of_a_confusion_matrix_is_consistent(
    rows: list[list[int]], decimals: int, reading: str
) -> None:
    confusion = np.array(rows)
    supports = tuple(map(int, confusion.sum(1)))
    assume(sum(supports))
    table = table_of(supports, margins_of(confusion), decimals, reading)
    finding, _ = counts_exist(table)
    assert finding.verdict == "consistent"
    found = reconstruct(table, reading)
    truth = margins_of(confusion)
    held = [(one.columns[0].true_positive, one.columns[0].predicted) for one in found.solutions]
    assert truth in held or len(held) == MOST_SOLUTIONS


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([(3, 5), (6, 1), (2, 2, 3), (1, 3, 2), (0, 3, 2)]), st.data(), readings)
def test_agrees_with_printing_every_confusion_matrix(
    supports: Row, data: st.DataObject, reading: str
) -> None:
    """Tables near a true one, one figure of which is changed; most of them no matrix gives."""
    margins = data.draw(st.sampled_from(sorted(all_margins(supports))))
    table = table_of(supports, margins, 2, reading)
    column, k = table.columns[0], data.draw(st.integers(0, len(supports) - 1))
    measure = data.draw(st.sampled_from(["precision", "recall", "f1", "accuracy", "macro_f1", "none"]))
    figure = data.draw(st.integers(0, 100).map(lambda n: Decimal(n) / 100))
    figures = {m: list(column.figures(m)) for m in ("precision", "recall", "f1")}
    if measure in figures:
        figures[measure][k] = figure
    means = {**column.means, **({measure: figure} if measure in column.means else {})}
    changed = PrintedColumn("m", *map(tuple, figures.values()), means)  # type: ignore[arg-type]
    table = PrintedTable(table.classes, (changed,), 2, supports)
    wanted = {one for one in all_margins(supports) if prints_as(table, supports, one, reading)}
    found = reconstruct(table, reading)
    held = {(one.columns[0].true_positive, one.columns[0].predicted) for one in found.solutions}
    assert found.complete or len(held) == MOST_SOLUTIONS
    assert held == wanted if found.complete else held <= wanted


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(4, 7))
def test_unknown_supports_are_found_like_trying_them_all(data: st.DataObject, images: int) -> None:
    supports = data.draw(st.tuples(st.just(images // 3), st.just(images - images // 3)))
    margins = data.draw(st.sampled_from(sorted(all_margins(supports))))
    table = table_of(supports, margins, 2, "rounded", given=False, images=images)
    wanted = {
        (tried, one)
        for n in range(1, images)
        for tried in [(n, images - n)]
        for one in all_margins(tried)
        if prints_as(table, tried, one, "rounded")
    }
    found = reconstruct(table, "rounded")
    held = {(s.supports, (s.columns[0].true_positive, s.columns[0].predicted)) for s in found.solutions}
    assert held == wanted if found.complete else held <= wanted


def test_no_matrix_although_every_class_and_every_sum_would_do() -> None:
    """Two classes: what one loses the other gains, so (1 right, 3 predicted) of 3 and 3 cannot be."""
    figures = [(Decimal("0.3"), Decimal("1.0")), (Decimal("0.3"), Decimal("1.0"))]
    column = PrintedColumn("m", figures[0], figures[1], (None, None), {})
    table = PrintedTable(("a", "b"), (column,), 1, (3, 3))
    finding, counts = counts_exist(table)
    assert (finding.verdict, counts) == ("impossible", None)
    assert finding.numbers["complete"]


def test_two_models_share_their_supports() -> None:
    quarter = PrintedColumn("a", (None, None), (Decimal("0.25"), Decimal("0.75")), (None, None), {})
    third = PrintedColumn("b", (None, None), (Decimal("0.33"), Decimal("0.67")), (None, None), {})
    both = PrintedTable(("x", "y"), (quarter, third), 2)
    assert {n % 12 for one in reconstruct(both, "rounded", bound=20).solutions for n in one.supports} == {0}
    alone = PrintedTable(("x", "y"), (quarter,), 2)
    assert reconstruct(alone, "rounded", bound=20).solutions[0].supports == (4, 4)


@pytest.mark.parametrize(("classes", "images", "decimals"), [(10, 1000, 3), (10, 5000, 2), (100, 50, 3)])
def test_large_tables_take_a_moment(classes: int, images: int, decimals: int) -> None:
    random = np.random.default_rng(0)
    shares = np.full((classes, classes), 0.4 / classes) + 0.6 * np.eye(classes)
    confusion = np.array([random.multinomial(images, row) for row in shares])
    supports = (images,) * classes
    table = table_of(supports, margins_of(confusion), decimals, "rounded")
    start = time.perf_counter()
    finding, _ = counts_exist(table)
    assert finding.numbers["reading"] == "rounded"
    assert time.perf_counter() - start < 10


def test_a_search_that_gives_up_says_so() -> None:
    random = np.random.default_rng(1)
    supports = tuple(random.integers(150, 250, 8).tolist())
    confusion = np.array([random.multinomial(n, [1 / 8] * 8) for n in supports])
    table = table_of(supports, margins_of(confusion), 3, "rounded", given=False, images=sum(supports))
    found = reconstruct(table, "rounded", steps=50)
    assert (found.solutions, found.complete, found.unique) == ((), False, None)


def test_no_counts_below_the_bound_is_not_impossible_while_the_size_is_unknown() -> None:
    table = table_of((997, 991), ((700, 500), (1191, 797)), 4, "rounded", given=False)
    finding, _ = counts_exist(table, bound=50)
    assert finding.verdict == "cannot be told"
    assert "up to 50 images a class" in finding.sentence


def test_bound_out_of_range_is_refused() -> None:
    table = table_of((2, 2), ((1, 1), (2, 2)), 2, "rounded", given=False)
    with pytest.raises(InputError, match=r"bound must be in \[1, 3000\], got 0"):
        reconstruct(table, bound=0)


@pytest.mark.parametrize(
    ("f1", "words"),
    [("0.286", "rounded"), ("0.285", "some figures rounded, others truncated")],
)
def test_the_reading_that_fits_is_said(f1: str, words: str) -> None:
    """2 of 7, of 7 predicted: 0.2857 is 0.286 rounded and 0.285 truncated."""
    share, rest = Decimal("0.286"), Decimal("0.286")
    column = PrintedColumn("m", (share, rest), (share, rest), (Decimal(f1), Decimal(f1)), {})
    finding, counts = counts_exist(PrintedTable(("a", "b"), (column,), 3, (7, 7)))
    assert finding.numbers["reading"] == words
    assert counts is not None
    assert counts.columns[0].true_positive == (2, 2)


def test_truncated_figures_are_understood() -> None:
    share = (Decimal("0.285"), Decimal("0.285"))
    finding, _ = counts_exist(
        PrintedTable(("a", "b"), (PrintedColumn("m", share, share, share, {}),), 3, (7, 7))
    )
    assert finding.numbers["reading"] == "truncated"


def test_a_mean_of_figures_as_they_are_printed_is_possible() -> None:
    """5/8 and 7/8 print as 0.63 and 0.88, whose mean prints as 0.76; that of the counts is 0.75."""
    recall = (Decimal("0.63"), Decimal("0.88"))
    column = PrintedColumn("m", (None, None), recall, (None, None), {"macro_recall": Decimal("0.76")})
    finding, _ = counts_exist(PrintedTable(("a", "b"), (column,), 2, (8, 8)))
    assert finding.verdict == "consistent"
    assert finding.numbers["reading"].startswith("without F1 and means")
