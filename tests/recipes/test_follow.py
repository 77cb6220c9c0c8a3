"""Where a run stands, read from its files at every moment of its life."""

import json
import os
import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.engine import MetricsLog
from tailgrad.recipes import train
from tailgrad.recipes.follow import RunState, StudyState, follow
from tailgrad.recipes.run_folder import read_json


def begun(folder: Path, epochs: int = 10) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        f"source: x\nmethod: csba\ntrain: {{epochs: {epochs}, monitor: macro_f1}}\n"
    )
    return folder


def hold(folder: Path, process: int, machine: str | None = None) -> None:
    holder = {"process": process, "machine": machine or platform.node(), "since": "now"}
    (folder / ".lock.json").write_text(json.dumps(holder))


def rows(folder: Path, *recalls: dict[str, float]) -> None:
    lines = [
        {"epoch": k, "train_loss": 1 / k, "val_macro_f1": k / 10, "val_recall": recall, "seconds": 6.0 * k}
        for k, recall in enumerate(recalls, start=1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run_of(folder: Path) -> RunState:
    found = follow(folder)
    assert isinstance(found, RunState)
    return found


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    hold(run, os.getpid())
    wanted = RunState("run", "csba", "running", epochs=10, headline="macro_f1")
    assert replace(run_of(run), quiet=0.0) == wanted
    rows(run, {"a": 0.5, "b": 0.1}, {"a": 0.7, "b": 0.2})
    found = run_of(run)
    assert (found.epoch, found.losses, found.scores) == (2.0, (1.0, 0.5), (0.1, 0.2))
    assert found.worst == (("b", 0.2), ("a", 0.7))
    assert found.left == pytest.approx(12.0 * 8 / 2)
    (run / "progress.json").write_text(json.dumps({"steps": 100, "step": 25}))
    assert run_of(run).epoch == 2.5


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    hold(run, child)
    assert run_of(run).state == "unfinished"
    hold(run, child, machine="another")
    assert run_of(run).state == "running", "nobody can see from here whether it lives"


@pytest.mark.parametrize(
    "name", ["config.yaml", "metrics.jsonl", "result.json", "progress.json", ".lock.json"]
)
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"epoch": "x"}\nnull\n'])
def test_a_broken_file_leaves_its_part_out(tmp_path: Path, name: str, content: bytes) -> None:
    run = begun(tmp_path / "run")
    rows(run, {"a": 0.5})
    (run / name).write_bytes(content)
    assert isinstance(follow(run), RunState)


def test_a_real_run_is_followed_while_it_trains(
    photos: Path, fast: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunState] = []

    class Seen(MetricsLog):
        def on_epoch(self, row: dict[str, Any]) -> None:
            super().on_epoch(row)
            seen.append(run_of(tmp_path / "run"))

    monkeypatch.setattr("tailgrad.recipes.run_config.MetricsLog", Seen)
    train(photos, "quick", overrides=fast, out=tmp_path / "run")
    assert [(state.state, state.epoch, state.epochs) for state in seen] == [
        ("running", 1, 2),
        ("running", 2, 2),
    ]
    assert seen[0].left is not None
    assert set(dict(seen[0].worst)) <= {"round", "square", "thin"}


def test_a_finished_run(run: Any) -> None:
    found = run_of(run.folder)
    result = read_json(run.folder / "result.json")
    assert (found.state, found.left) == ("finished", None)
    assert found.test == result["test"]["macro_f1"]["value"]
    assert len(found.losses) == len(found.scores) == result["epochs"]
    assert {name for name, _ in found.worst} == set(result["classes"]["names"])
    assert found.conflict.startswith("Mean conflict (cosine) ")


def test_the_worst_classes_of_a_finished_run_are_those_of_the_network_that_is_kept(
    run: Any, tmp_path: Path
) -> None:
    copied = shutil.copytree(run.folder, tmp_path / "run")
    rows = [json.loads(line) for line in (copied / "metrics.jsonl").read_text().splitlines()]
    last = next(row for row in reversed(rows) if "kind" not in row)
    worse = last | {"epoch": last["epoch"] + 1, "val_recall": dict.fromkeys(last["val_recall"], 0.0)}
    with (copied / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(worse) + "\n")
    kept = read_json(copied / "result.json")["best_epoch"]
    found = run_of(copied)
    assert (found.kept, found.worst) == (kept, run_of(run.folder).worst)
    (copied / "result.json").unlink()
    assert (run_of(copied).kept, {recall for _, recall in run_of(copied).worst}) == (None, {0.0})


def test_a_study_counts_its_runs(run: Any, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(run.folder, study / "runs" / "done")
    hold(begun(study / "runs" / "going"), os.getpid())
    failed = begun(study / "runs" / "lost")
    (study / "jobs" / "lost").mkdir(parents=True)
    (study / "jobs" / "lost" / "status.json").write_text(json.dumps({"status": "failed"}))
    diverged = begun(study / "runs" / "nan")
    (diverged / "failure.json").write_text(json.dumps({"kind": "diverged", "text": "loss is nan"}))
    (study / "study.yaml").write_text("methods: [ce, csba]\nseeds: 3\n")
    found = follow(study)
    assert isinstance(found, StudyState)
    assert {one.name: one.state for one in found.runs} == {
        "done": "finished",
        "going": "running",
        failed.name: "failed",
        diverged.name: "failed",
    }
    assert (found.done, found.planned, found.going) == (1, 6, False)
    hold(study, os.getpid())
    whole = follow(tmp_path)  # a folder of several groups
    assert isinstance(whole, StudyState)
    assert (whole.planned, whole.going) == (6, True)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_neither_run_nor_study(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder must be a run or a study, got .*"):
        follow(tmp_path / name)
