"""The ledger's table read back: every printed number against numbers worked out beside it."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.types import Correction

KINDS = ("sampling", "weight", "train_shift", "test_shift")
SHOWN = 5
"""Most frequent classes that a long table shows, and as many of the rarest."""
Counts = st.lists(st.integers(0, 2000), min_size=2, max_size=40).filter(
    lambda counts: sum(map(bool, counts)) > 1
)


def _made(counts: list[int], seed: int, kinds: tuple[str, ...] = KINDS) -> tuple[Ledger, dict[str, Any]]:
    shifts = {kind: np.random.default_rng([seed, i]).normal(size=len(counts)) for i, kind in enumerate(kinds)}
    entries = [(f"the {kind}", Correction(kind, tuple(shift))) for kind, shift in shifts.items()]
    return ledger(entries, counts, allow_double_correction=True), shifts


def _prior(counts: list[int], shifts: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """``n exp(sampling + weight - train_shift - test_shift)``, normalised."""
    signs = {"sampling": 1, "weight": 1, "train_shift": -1, "test_shift": -1}
    moved = sum((signs[kind] * shift for kind, shift in shifts.items()), np.zeros(len(counts)))
    mass = np.array(counts) * np.exp(moved)
    return mass / mass.sum()


def _class_rows(found: Ledger) -> tuple[list[list[str]], int]:
    """Cells of the table by class, and how many classes it says to leave out."""
    lines = found.text().splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(r"  class +count", line))
    hidden, rows = 0, []
    for line in lines[start + 1 :]:
        if not line.startswith("  "):
            break
        if more := re.fullmatch(r"  \.\.\. (\d+) more", line):
            hidden = int(more[1])
        else:
            rows.append(line.split())
    return rows, hidden


@settings(max_examples=50)
@given(counts=Counts, seed=st.integers(0, 10_000))
def test_the_classes_shown_are_the_most_frequent_and_the_rarest(counts: list[int], seed: int) -> None:
    found, _ = _made(counts, seed)
    rows, hidden = _class_rows(found)
    present = sorted((n for n in counts if n), reverse=True)
    assert len(rows) + hidden == len(present)
    assert [int(row[1]) for row in rows] == (
        present if len(present) <= 2 * SHOWN else present[:SHOWN] + present[-SHOWN:]
    )
    assert all(counts[int(row[0])] == int(row[1]) for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


@settings(max_examples=50)
@given(counts=Counts, seed=st.integers(0, 10_000))
def test_every_number_in_the_table_is_the_class_own(counts: list[int], seed: int) -> None:
    found, shifts = _made(counts, seed)
    mass = np.array(counts) * np.exp(shifts["sampling"])
    columns = [
        np.array(counts),
        np.array(counts) / sum(counts),
        mass / mass.sum(),
        np.exp(shifts["weight"]),
        shifts["train_shift"],
        shifts["test_shift"],
        _prior(counts, shifts),
    ]
    rows, _ = _class_rows(found)
    for name, *cells in rows:
        assert len(cells) == len(columns)
        for cell, column in zip(cells, columns, strict=True):
            assert float(cell) == pytest.approx(column[int(name)], rel=6e-3, abs=1e-12)


@settings(max_examples=50)
@given(counts=Counts, seed=st.integers(0, 10_000))
def test_the_lifts_multiply_to_that_of_all_together(counts: list[int], seed: int) -> None:
    found, _ = _made(counts, seed)
    lines = found.text().splitlines()
    factors = [float(match[1]) for line in lines if (match := re.search(r" ([\d.e+-]+) times", line))]
    assert len(factors) == len(KINDS) + 1
    assert np.prod(factors[:-1]) == pytest.approx(factors[-1], rel=5e-3)
    order = sorted((k for k, n in enumerate(counts) if n), key=lambda k: -counts[k])
    most, least = order[0], order[-1]
    lifted = found.prior[least] / found.prior[most] * counts[most] / counts[least]
    assert factors[-1] == pytest.approx(lifted, rel=1e-3)


@settings(max_examples=50)
@given(counts=Counts, seed=st.integers(0, 10_000))
def test_the_verdict_says_how_much_is_left_or_reversed(counts: list[int], seed: int) -> None:
    found, shifts = _made(counts, seed)
    text = found.text()
    absent = sum(n == 0 for n in counts)
    assert (f"classes without an example, left out: {absent}" in text) == (absent > 0)
    present = [n for n in counts if n]
    if min(present) == max(present):
        assert "the classes are balanced: nothing to correct" in text
        return
    prior = _prior(counts, shifts)
    order = sorted((k for k, n in enumerate(counts) if n), key=lambda k: -counts[k])
    left = np.log(prior[order[0]] / prior[order[-1]]) / np.log(max(present) / min(present))
    said = re.search(r"([\d.]+) of the imbalance (is left|is reversed|beyond)", text)
    if said is None:
        words = "is corrected" if abs(left) < 0.5 else "is that of the data"
        assert f"the class prior {words}" in text
        assert abs(left) < 5.1e-3 or left >= 0.994
    else:
        assert (1 if said[2] == "is left" else -1) * float(said[1]) == pytest.approx(left, abs=5.1e-3)
    assert ("\nover-corrected, " in text) == found.over_corrected
    assert f"uniform {1 / len(present):.4g})" in text


@pytest.mark.parametrize(("number", "hidden"), [(2, 0), (10, 0), (11, 1), (1000, 990)])
def test_a_table_grows_to_ten_classes_and_no_further(number: int, hidden: int) -> None:
    found, _ = _made(list(range(3 * number, 2 * number, -1)), 0)
    rows, left_out = _class_rows(found)
    assert (len(rows), left_out) == (min(number, 10), hidden)
    assert len(found.text().splitlines()) == 1 + 1 + len(KINDS) + 1 + 1 + len(rows) + bool(hidden) + 1
    assert max(map(len, found.text().splitlines())) <= 110


def test_long_names_are_cut_and_columns_stay_in_line() -> None:
    names = ["n" * 50, "b", "\u96ea"]
    entry = Correction("weight", (0.0, 0.5, 1.0))
    found = ledger([("a component of a rather long name", entry)], [70, 20, 10], class_names=names)
    lines = found.text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("  class "))
    assert {len(line) for line in lines[start : start + 4]} == {len(lines[start])}
    assert lines[start + 1].startswith(f"  {'n' * 14} ")
    heads = [line for line in lines if re.match(r"  (component|a component|all together)", line)]
    assert len({line.index(word) for line, word in zip(heads[:2], ("kind", "weight"), strict=True)}) == 1


def test_what_is_listed_is_named_and_not_counted() -> None:
    found = ledger([("margins", Correction("listed", ())), ("none", None)], [9, 1])
    assert re.search(r"margins +listed +not counted", found.text())
    assert "none" not in found.text()
    assert re.search(r"all together +1 times = 0.00 of the imbalance", found.text())
    said = "the class prior is that of the data, apart from margins: prior 0.9 for 0, 0.1 for 1"
    assert said in found.text()
