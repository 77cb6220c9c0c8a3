import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tailgrad.evaluate import units_of
from tailgrad.interference import Interference
from tailgrad.report.blocks import Block, Figure, Folded, Grid, Table
from tailgrad.report.conflict import branch_blocks, conflict_blocks, moments
from tailgrad.report.folders import read_run


@pytest.fixture(scope="module")
def found(run_folder: Path) -> dict[str, Interference]:
    return read_run(run_folder).interference


def every(blocks: tuple[Block, ...], kind: type) -> list[Block]:
    inner = [b for block in blocks if isinstance(block, Grid | Folded) for b in every(block.blocks, kind)]
    return [block for block in blocks if isinstance(block, kind)] + inner


def test_held_out_comes_first_and_nothing_is_made_up(found: dict[str, Interference]) -> None:
    assert list(moments({"csba": [found], "other": [{}]})) == ["heldout", "early", "train"]
    assert list(moments({"csba": [{"early": found["early"]}]})) == ["early"]


def test_summary_holds_conflict_null_excess_and_an_interval_over_seeds(
    found: dict[str, Interference],
) -> None:
    one, three = ([found], [found, {"heldout": found["early"]}, {"heldout": found["train"]}])
    table = every(conflict_blocks({"csba": one}), Table)[0]
    result = found["heldout"]
    assert table.rows[0][2] == f"{result.mean:+.3f}"
    assert table.rows[0][4] == f"{result.mean_excess:+.3f}"
    assert table.rows[0][5] == "\u2013"
    rows = every(conflict_blocks({"csba": three}), Table)[0].rows
    mean = np.mean([found[moment].mean_excess for moment in ("heldout", "early", "train")])
    assert rows[0][4] == f"{mean:+.3f}"
    assert " to " in rows[0][5]


def test_the_interval_over_splits_counts_each_once_and_takes_their_overlap(
    found: dict[str, Interference],
) -> None:
    measured = [{"heldout": found[m]} for m in ("heldout", "early", "train", "early")]
    values = [one["heldout"].mean_excess for one in measured]
    blocks = conflict_blocks({"csba": measured}, {"csba": units_of([(0, 0), (1, 0), (0, 1), (1, 1)])}, 0.25)
    table = every(blocks, Table)[0]
    assert table.header[5] == "excess, 95 % over splits"
    means = [(values[0] + values[1]) / 2, (values[2] + values[3]) / 2]
    # two splits: t(1) = 12.706, variance s^2 (1/2 + n_test/n_train) with s^2 = d^2 / 2
    half = 12.7062 * abs(means[0] - means[1]) / 2**0.5 * (0.5 + 0.25) ** 0.5
    middle = sum(means) / 2
    assert table.rows[0][5] == f"{middle - half:+.3f} to {middle + half:+.3f}"
    each = every(conflict_blocks({"csba": measured}), Table)[0]
    assert each.header[5] == "excess, 95 % over seeds"
    assert each.rows[0][5] != table.rows[0][5]


def test_the_intervals_of_the_worst_pairs_count_each_split_once(found: dict[str, Interference]) -> None:
    measured = [{"heldout": found[m]} for m in ("heldout", "early", "train", "early")]
    blocks = conflict_blocks({"csba": measured}, {"csba": units_of([(0, 0), (1, 0), (0, 1), (1, 1)])}, 0.25)
    (table,) = [one for one in every(blocks, Table) if one.header[0] == "pair"]
    assert table.header[-1] == "excess, 95 % over splits"
    names = found["heldout"].class_names
    for cells in table.rows:
        i, j = (names.index(name) for name in cells[0].split(" / "))
        values = [float(one["heldout"].excess[i, j]) for one in measured]
        means = [(values[0] + values[1]) / 2, (values[2] + values[3]) / 2]
        half = 12.7062 * abs(means[0] - means[1]) / 2**0.5 * (0.5 + 0.25) ** 0.5
        low, high = (float(end) for end in cells[-1].split(" to "))
        assert (low, high) == pytest.approx((sum(means) / 2 - half, sum(means) / 2 + half), abs=2e-3)


def test_maps_come_in_threes(found: dict[str, Interference]) -> None:
    for methods in (1, 2):
        blocks = conflict_blocks({f"m{i}": [found] for i in range(methods)})
        titles = [
            figure.title
            for figure in every(blocks, Figure)
            if ": m0" in figure.title and "hurts" not in figure.title
        ]
        assert sorted(titles) == sorted(["Conflict: m0", "Null: m0", "Excess: m0"] * 3)
    side_by_side = next(block for block in blocks if isinstance(block, Grid))
    assert [figure.title for figure in side_by_side.blocks] == ["Excess: m0", "Excess: m1"]


def test_worst_pairs_are_those_of_the_measurement(found: dict[str, Interference]) -> None:
    tables = every(conflict_blocks({"csba": [{"heldout": found["heldout"]}]}), Table)
    rows = next(table for table in tables if table.header[0] == "pair").rows
    wanted = found["heldout"].worst_pairs(6, by="excess")
    assert [row[0] for row in rows] == [f"{pair.first} / {pair.second}" for pair in wanted]
    assert [row[4] for row in rows] == [f"{pair.excess:+.3f}" for pair in wanted]


def test_a_measurement_without_layers_or_branches_is_shown(found: dict[str, Interference]) -> None:
    bare = dataclasses.replace(found["heldout"], layers={}, layer_null={}, branches=None)
    blocks = conflict_blocks({"csba": [{"heldout": bare}]})
    assert "Conflict by layer" not in [figure.title for figure in every(blocks, Figure)]
    assert branch_blocks({"csba": [{"heldout": bare}]}) == ()


def test_nothing_measurable_is_a_dash_and_not_a_crash(found: dict[str, Interference]) -> None:
    blank = np.full_like(found["heldout"].conflict, np.nan)
    bare = dataclasses.replace(found["heldout"], conflict=blank)
    rows = every(conflict_blocks({"csba": [{"heldout": bare}]}), Table)[0].rows
    assert rows[0][2:] == ("\u2013", rows[0][3], "\u2013", "\u2013")


def test_branch_shares_are_averaged_over_seeds(found: dict[str, Interference]) -> None:
    runs = [{"heldout": found["heldout"]}, {"heldout": found["early"]}]
    figure, folded = branch_blocks({"csba": runs})
    assert figure.title == "Branch shares: csba, network kept, held-out images"
    mean = (found["heldout"].branches.shares + found["early"].branches.shares) / 2
    assert folded.blocks[0].rows[0][1:] == tuple(f"{share:.3f}" for share in mean[:, 0])


def test_layers_are_listed_with_conflict_and_excess(found: dict[str, Interference]) -> None:
    tables = every(conflict_blocks({"csba": [{"heldout": found["heldout"]}]}), Table)
    table = next(table for table in tables if table.header[0] == "layer")
    name, conflict, excess = table.rows[2]
    pairs = ~np.eye(len(found["heldout"].class_names), dtype=bool)
    assert conflict == f"{found['heldout'].layers[name][pairs].mean():+.3f}"
    assert excess == f"{found['heldout'].layer_excess[name][pairs].mean():+.3f}"
