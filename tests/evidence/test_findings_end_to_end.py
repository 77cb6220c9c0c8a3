"""The studies of single findings, at their smallest size, from the file to the verdicts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tailgrad.evidence import Lab, read_study, studies, study

FAST = ("f01-minority-initial-drop", "f02-normalised-steps", "f08-two-ways-to-balance")
FINDINGS = tuple(name for name in studies() if name.startswith("f") and name[1:3].isdigit())
TUNED = ("f02", "f04", "f06", "f08", "f23")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _run(name: str, out: Path) -> dict[str, Any]:
    expected: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lab, "expect", lambda _, cells: expected.append(cells))
        found = study(name, size="smoke", out=out).content
    assert sum(expected) == len(list((out / "analysis").glob("cells/*.json")))
    assert all(claim["found"] for claim in found["claims"])
    assert found["tables"] or found["groups"]
    return found


@pytest.mark.parametrize("name", FAST)
def test_a_small_edition_judges_every_claim(name: str, tmp_path: Path) -> None:
    found = _run(name, tmp_path / "study")
    assert found["seeds"] == [100, 101]
    assert all(len(figure["values"]) in (1, 2, 5) for figure in found["figures"].values())


def test_the_same_seeds_give_the_same_figures(tmp_path: Path) -> None:
    first, again = (_run(FAST[0], tmp_path / name)["figures"] for name in ("first", "again"))
    assert first == again


def test_a_second_sitting_takes_the_cells_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "study"
    first = _run(FAST[0], out)["figures"]
    cells = {path: path.stat().st_mtime_ns for path in (out / "analysis" / "cells").iterdir()}
    again = study(FAST[0], size="smoke", out=out, resume=True).content["figures"]
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (out / "analysis" / "cells").iterdir()} == cells


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FINDINGS if name not in FAST])
def test_the_other_small_editions_judge_every_claim(name: str, tmp_path: Path) -> None:
    _run(name, tmp_path / "study")


@pytest.mark.parametrize("name", FINDINGS)
def test_findings_run_on_digits_with_several_seeds(name: str) -> None:
    plan = read_study(name)
    assert {"cpu", "smoke"} <= set(plan.sizes) <= {"cpu", "small", "smoke"}
    assert plan.data == {"images": "digits-lt"}
    assert plan.question
    assert plan.notes
    for size in ("full", *(set(plan.sizes) - {"smoke"})):
        at = plan.at(size)
        seeds = [group.seeds for group in at.expanded().values()] or [at.settings["seeds"]]
        assert min(seeds) >= 5


@pytest.mark.parametrize("name", [name for name in FINDINGS if name.startswith(TUNED)])
def test_grids_have_an_inside(name: str) -> None:
    settings = read_study(name).at("cpu").settings
    rates = settings["rates"]
    for grid in rates.values() if isinstance(rates, dict) else [rates]:
        assert sorted(grid) == list(grid)
        assert len(grid) >= 4


def test_batches_of_every_size_see_as_much_at_rates_in_proportion() -> None:
    runs = read_study("f20-batch-size").expanded()["runs"]
    for method in runs.methods:
        assert isinstance(method, dict)
        assert method["optim"]["lr"] == pytest.approx(method["train"]["batch_size"] / 1000)


def test_the_balanced_control_has_as_many_images_as_the_imbalanced_group(tmp_path: Path) -> None:
    from tailgrad.recipes.compose import compose
    from tailgrad.recipes.prepare import prepare

    groups = read_study("f34-imbalanced-features").expanded()
    totals = {}
    for name in ("if50", "few"):
        above = {"data": {**groups[name].set["data"], "near_duplicates": False}}
        totals[name] = sum(prepare(compose("digits-lt", "digits", "ce", above)).classes.counts)
    assert abs(totals["if50"] - totals["few"]) <= 0.05 * totals["if50"]
