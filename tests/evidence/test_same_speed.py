"""What changes numbers is settled once for the groups of a study that train the same network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailgrad.evidence import Sitting, StudyFile, study
from tailgrad.recipes import study_runs
from tailgrad.recipes.settled_speed import Speed

pytestmark = pytest.mark.long

KEYS = {"precision": "float32", "compile": "off", "fused": False, "threads": 1}


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trials by network; every one comes to another layout than the one before."""
    made: list[str] = []

    def settle(config: Any, *_: Any) -> Speed:
        made.append(config.model.name)
        return Speed(KEYS | {"channels_last": len(made) % 2 == 0}, 0.1)

    monkeypatch.setattr(study_runs, "settle", settle)
    return made


def _plan(pictures: Path, **third: Any) -> StudyFile:
    one = {"regime": "quick", "methods": ["ce"], "seeds": 1}
    quick = {
        "data": {"size": 8, "near_duplicates": False},
        "model": {"name": "resnet8"},
        "train": {"epochs": 1, "batch_size": 8},
        "interference": {"enabled": False},
    }
    content = {"name": "tiny", "data": {"pictures": str(pictures)}, "set": quick}
    groups = {"first": one, "second": {**one, "methods": ["focal"]}, "third": {**one, "set": third}}
    return StudyFile.model_validate({**content, "groups": groups})


def _settled(folder: Path) -> Iterator[bool]:
    for group in ("first", "second", "third"):
        assert json.loads((folder / group / "speed.json").read_text()).keys() >= KEYS.keys()
        (run,) = (folder / group / "runs").glob("*/config.yaml")
        yield "channels_last: true" in run.read_text()


def test_groups_of_one_network_share_what_was_measured(
    pictures: Path, tmp_path: Path, trials: list[str]
) -> None:
    plan = _plan(pictures, model={"name": "resnet32"})
    study(plan, out=tmp_path / "study", console=None)
    assert trials == ["resnet8", "resnet32"]
    assert list(_settled(tmp_path / "study")) == [False, False, True]


def test_in_a_later_sitting_too(pictures: Path, tmp_path: Path, trials: list[str]) -> None:
    plan, out = _plan(pictures), tmp_path / "study"
    study(plan, only=["second"], out=out, console=None)
    study(plan, out=out, resume=True, console=None)
    assert trials == ["resnet8"]
    assert list(_settled(out)) == [False] * 3


def test_what_is_asked_for_by_name_is_kept(pictures: Path, tmp_path: Path, trials: list[str]) -> None:
    study(_plan(pictures, train={"channels_last": True}), out=tmp_path / "study", console=None)
    assert trials == ["resnet8", "resnet8"]
    assert list(_settled(tmp_path / "study")) == [False, False, True]


@pytest.mark.slow
def test_side_by_side_too(pictures: Path, tmp_path: Path) -> None:
    """Of a group with more runs: how many there are must not give another number of threads."""
    plan, out = _plan(pictures), tmp_path / "study"
    plan = plan.model_copy(update={"groups": plan.groups | {"second": {**plan.groups["second"], "seeds": 2}}})
    study(plan, only=["first", "second"], out=out, console=None, sitting=Sitting(jobs=2))
    first, second = (json.loads((out / group / "speed.json").read_text()) for group in ("first", "second"))
    assert first == second
