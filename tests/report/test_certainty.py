"""Pairs beyond noise, reliability, who hurts whom, and advice, as blocks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tailgrad.interference import Interference
from tailgrad.interference.tiles import TiledInterference, tiles_of
from tailgrad.report.advice_table import advice_blocks
from tailgrad.report.blocks import Figure, Folded, Grid, Table
from tailgrad.report.certainty import certainty_blocks, classes_of, noise_table
from tailgrad.report.conflict import NO_INTERVAL, conflict_blocks
from tailgrad.report.folders import read_run
from tailgrad.report.pairs import worst_pairs

WORDS = {"heldout": "held-out"}


@pytest.fixture(scope="module")
def found(run_folder: Path) -> dict[str, Interference]:
    return read_run(run_folder).interference


def beyond(result: Interference) -> tuple[np.ndarray, np.ndarray]:
    """Pairs below and above 0, from the definition."""
    # Student's t with three degrees of freedom for the null's four parts, and 0.05 for its model
    half = np.hypot(result.interval[1] - result.disattenuated, 2.3533634348018233 * result.null_error) + 0.05
    centre = result.disattenuated - result.null
    upper = np.triu(np.ones_like(centre, dtype=bool), 1)
    return upper & (centre + half < 0), upper & (centre - half > 0)


def test_pairs_beyond_noise_are_counted(found: dict[str, Interference]) -> None:
    (table,) = noise_table({"heldout": {"csba": [found["heldout"]]}}, WORDS)
    opposed, agreeing = (int(pairs.sum()) for pairs in beyond(found["heldout"]))
    assert "every seed" not in " ".join(table.header)
    # of six classes one has no gradient, which leaves ten pairs, one of them drowned in noise
    assert table.rows == (("csba", "held-out", "10", str(opposed), str(agreeing), "0.5", "1"),)


def test_counts_over_seeds_are_means_beside_what_every_seed_shows(
    found: dict[str, Interference],
) -> None:
    runs = [found["heldout"], found["early"]]
    (table,) = noise_table({"heldout": {"csba": runs}}, WORDS)
    below = [beyond(run)[0] for run in runs]
    assert table.rows[0][3] == f"{np.mean([pairs.sum() for pairs in below]):.1f}"
    assert table.rows[0][-1] == str(int((below[0] & below[1]).sum()))


def test_files_without_intervals_say_so_and_make_up_nothing(found: dict[str, Interference]) -> None:
    old = found["train"]
    assert old.interval is None
    assert noise_table({"heldout": {"csba": [old]}}, WORDS) == ()
    assert certainty_blocks({"csba": [old]}) == ()
    assert {row[-1] for row in worst_pairs({"csba": [old]}).rows} == {"\u2013"}
    texts = [getattr(block, "text", "") for block in conflict_blocks({"csba": [{"heldout": old}]})]
    assert NO_INTERVAL in texts


def test_reliability_stands_beside_the_training_count(found: dict[str, Interference]) -> None:
    result = found["heldout"]
    drawn, folded = certainty_blocks({"csba": [result]})[:2]
    assert isinstance(drawn, Figure)
    assert drawn.spec["data"][0]["x"] == sorted(result.train_counts.tolist(), reverse=True)
    assert isinstance(folded, Folded)
    rows = folded.blocks[0].rows
    assert [row[1] for row in rows] == list(map(str, result.train_counts))
    assert rows[0][2] == f"{result.reliability[0]:.2f}"
    assert rows[-1][2] == "\u2013"


def test_harm_is_a_share_of_what_a_class_does_for_itself(found: dict[str, Interference]) -> None:
    parts = np.array([[2.0, -1.0, 0.5], [-3.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    names, size = ("a", "b", "c"), np.array([30, 20, 10])
    result = dataclasses.replace(
        found["heldout"], class_names=names, contributions=parts, train_counts=size, reliability=None
    )
    grid, table = certainty_blocks({"csba": [result]})
    assert isinstance(grid, Grid)
    cells = grid.blocks[0].spec["data"][0]["z"]
    assert cells == [[1, -0.5, 0.25], [-3, 1, 0], [None, None, None]]  # c does nothing for itself
    assert grid.blocks[0].alt == "Most hurt: b by a, -3.00."
    assert table.blocks[0].rows[1] == ("b", "-3.00", "1.00", "0.00")


def test_classes_are_ordered_by_training_and_not_by_measured_images(found: dict[str, Interference]) -> None:
    assert set(found["heldout"].counts) == {7}
    assert classes_of([found["heldout"]]).counts == tuple(found["heldout"].train_counts)
    assert classes_of([found["train"]]).counts == tuple(found["train"].counts)


def test_worst_pairs_carry_the_interval_of_the_run_or_over_seeds(found: dict[str, Interference]) -> None:
    first, other = found["heldout"], found["early"]
    i, j = np.unravel_index(np.nanargmin(np.where(np.eye(6), np.nan, first.excess)), (6, 6))
    row = worst_pairs({"csba": [first]}).rows[0]
    low, high = first.excess_interval[:, i, j]
    assert row[-1] == ("unknown" if np.isnan(low) else f"{low:+.3f} to {high:+.3f}")
    table = worst_pairs({"csba": [first, other]})
    assert table.header[-1] == "excess, 95 % over seeds"
    assert all(" to " in row[-1] for row in table.rows)
    alone = worst_pairs({"csba": [first, other], "ce": [first]})
    assert {row[-1] for row in alone.rows if row[1] == "ce"} == {"\u2013"}


def test_a_measurement_without_matrices_shows_its_pairs(tmp_path: Path, make_run: object) -> None:
    units = np.array([[1.0, 0.0], [-0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    one = np.ones(3)
    many = TiledInterference(tiles_of(("a", "b", "c"), one.astype(int), "all", one, one, units, units[::-1]))
    make_run(tmp_path / "run")  # type: ignore[operator]
    many.save(tmp_path / "run" / "interference" / "heldout")
    read = read_run(tmp_path / "run").interference["heldout"]
    blocks = conflict_blocks({"csba": [{"heldout": read}]})
    tables = {block.header: block for block in blocks if isinstance(block, Table)}
    assert tables["pair", "method", "conflict", "null", "excess"].rows[0][:3] == ("a / b", "csba", "-0.800")
    assert not [block for block in blocks if isinstance(block, Figure | Grid)]


def test_advice_joins_the_remedies_of_one_finding() -> None:
    advice = [{"kind": "conflict", "remedy": name, "reason": "Because."} for name in ("csba", "pcgrad")] + [
        {"kind": "prior bias", "remedy": "", "reason": "Why."}
    ]
    table, text = advice_blocks(advice)
    assert [(row.title, row.verdict, row.text) for row in table.rows] == [
        ("csba, pcgrad", "conflict", "Because."),
        ("no method here yet", "prior bias", "Why."),
    ]
    assert "three seeds" in text.text
    assert advice_blocks([]) == ()
