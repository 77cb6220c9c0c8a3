"""Where an analysis works: cells are computed once, and only for the settings they were asked for."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.data import duplicate_groups, make_split, open_source, split_hash
from tailgrad.engine import Interrupted
from tailgrad.evidence import Lab
from tailgrad.evidence.analyses.small_sets import small_set


def lab(folder: Path, **changes: Any) -> Lab:
    return Lab(**{"folder": folder, "data": {"x": "digits-lt"}, "settings": {"steps": 3}} | changes)


def test_a_cell_is_computed_once_and_read_by_the_next_lab(tmp_path: Path) -> None:
    calls = []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"x": 0.1, "rows": (1, 2)}

    first = lab(tmp_path).cell("one", make)
    assert first == {"x": 0.1, "rows": [1, 2]}, "as it is read back, so that a resumed study is the same"
    assert lab(tmp_path).cell("one", make) == first
    assert len(calls) == 1


def test_the_splits_that_cells_used_are_known_also_when_they_are_read_back(tmp_path: Path) -> None:
    source = open_source("digits-lt")
    groups = duplicate_groups(source).group
    wanted = {split_hash(make_split(source, seed=seed, val=0.2, groups=groups), source) for seed in (0, 1)}

    def make(seed: int) -> dict[str, Any]:
        return {"images": len(small_set("digits-lt", seed).train)}

    one, again = lab(tmp_path), lab(tmp_path)
    for seed in (0, 1):
        one.cell(f"seed-{seed}", partial(make, seed))
    assert one.splits == wanted
    assert len(wanted) == 2
    again.cell("seed-1", dict)  # nothing is computed: it is kept
    assert again.splits < wanted
    small_set("digits-lt", 2)  # outside a cell
    assert one.splits == wanted
    pair = lab(tmp_path / "pair")
    pair.cell("pair", lambda: {"n": len(small_set("digits-lt", 0, classes=(3, 8)).train)})
    assert len(pair.splits) == 1
    assert not pair.splits & wanted, "another training part is another split"


@pytest.mark.parametrize("changes", [{"settings": {"steps": 4}}, {"data": {"x": "other"}}])
def test_a_cell_of_other_settings_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    lab(tmp_path).cell("one", lambda: {"x": 1})
    with pytest.raises(InputError, match="must be made with the present settings.*use another --out"):
        lab(tmp_path, **changes).cell("one", lambda: {"x": 1})


def test_settings_are_compared_as_they_are_stored(tmp_path: Path) -> None:
    tuples = {"settings": {"sizes": (1, 2), 3: "three"}}
    lab(tmp_path, **tuples).cell("one", lambda: {"x": 1})
    assert lab(tmp_path, **tuples).cell("one", lambda: {"x": 2}) == {"x": 1}


def test_nothing_new_is_begun_when_the_time_is_up_and_what_is_there_is_kept(tmp_path: Path) -> None:
    lab(tmp_path).cell("one", lambda: {"x": 1})
    late = lab(tmp_path, until=time.monotonic() - 1)
    assert late.cell("one", lambda: {"x": 2}) == {"x": 1}
    with pytest.raises(Interrupted, match="time was used up"):
        late.cell("two", lambda: {"x": 2})
    assert not (tmp_path / "cells" / "two.json").exists()


def test_a_cell_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, Any]:
        raise InputError("no")

    with pytest.raises(InputError):
        lab(tmp_path).cell("one", fail)
    assert lab(tmp_path).cell("one", lambda: {"x": 1}) == {"x": 1}


def finished(group: Path, method: str, seed: int, split: int, status: str = "finished") -> None:
    run = group / "runs" / f"x.{method}.split{split}.seed{seed}"
    run.mkdir(parents=True)
    result = {"method": method, "seed": seed, "split_seed": split, "status": status}
    (run / "result.json").write_text(json.dumps(result))


def test_runs_are_finished_ones_by_method_in_the_order_of_splits_and_seeds(tmp_path: Path) -> None:
    for seed, split in ((10, 0), (2, 1), (2, 0)):
        finished(tmp_path, "ce", seed, split)
    finished(tmp_path, "csba", 0, 0)
    finished(tmp_path, "csba", 1, 0, status="stopped")
    (tmp_path / "runs" / "x.csba.split0.seed2").mkdir()
    there = lab(tmp_path / "analysis", groups={"g": tmp_path})
    found = {name: [folder.path.name for folder in runs] for name, runs in there.runs("g").items()}
    assert found == {
        "ce": ["x.ce.split0.seed2", "x.ce.split0.seed10", "x.ce.split1.seed2"],
        "csba": ["x.csba.split0.seed0"],
    }
    with pytest.raises(InputError, match="group must be a finished one of the study, got 'h'"):
        there.runs("h")


@pytest.mark.parametrize("name", ["../one", "a/b", "a\0b"])
def test_a_cell_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    """Names are made of settings, which come from a file."""
    with pytest.raises(InputError, match="name that can name a file"):
        lab(tmp_path).cell(name, lambda: {"x": 1})


def test_a_damaged_cell_says_what_mends_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "analysis", {}, {}, {})
    lab.cell("one", lambda: {"x": 1.0})
    damaged = tmp_path / "analysis" / "cells" / "one.json"
    damaged.write_text(damaged.read_text()[:-9])
    with pytest.raises(InputError, match=r"one.json must be .*; remove it, and it is computed again$"):
        lab.cell("one", lambda: {"x": 2.0})
    damaged.unlink()
    assert lab.cell("one", lambda: {"x": 2.0}) == {"x": 2.0}
