"""One task in a folder: what comes of it, said in a file."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.engine import load_weights
from tailgrad.recipes import RunFolder, train
from tailgrad.recipes import speed as choice
from tailgrad.recipes.compose import compose, merge
from tailgrad.recipes.config import Config
from tailgrad.recipes.folder_lock import folder_lock
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.talk import Talk
from tailgrad.recipes.worker import work

pytestmark = pytest.mark.long

TINY: dict[str, Any] = {
    "model": {"name": "resnet32"},
    "data": {"size": 16, "near_duplicates": False},
    "train": {"epochs": 1, "batch_size": 16, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"enabled": False},
}


@pytest.fixture(autouse=True)
def _where_it_was(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker has a process of its own; here it borrows this one."""
    monkeypatch.chdir(Path.cwd())
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def task(
    study: Path, photos: Path, *, kind: str = "run", more: dict[str, Any] | None = None, **changed: Any
) -> Path:
    place = study / "jobs" / kind
    place.mkdir(parents=True, exist_ok=True)
    config = compose(str(photos), "quick", "ce", merge(TINY, more or {}))
    content = {
        "kind": kind,
        "study": str(study),
        "cwd": str(Path.cwd()),
        "gpu": 1.0,
        "config": config.model_dump(mode="json"),
    }
    (place / "task.json").write_text(json.dumps(content | changed))
    return place


@pytest.fixture(scope="module")
def done(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder with one run made by two tasks."""
    study = tmp_path_factory.mktemp("study") / "one"
    for kind in ("prepare", "run"):
        status = work(task(study, photos, kind=kind))
        assert status["status"] == "finished", status
    return study


def the_run(study: Path) -> RunFolder:
    return RunFolder(study / "runs" / "photos.quick.ce.split0.seed0")


def test_a_run_has_the_weights_of_one_that_was_trained_here(done: Path, photos: Path, tmp_path: Path) -> None:
    alone = train(photos, regime="quick", method="ce", overrides=TINY, out=tmp_path / "run")
    ours, theirs = (load_weights(folder.weights)[0] for folder in (the_run(done), RunFolder(alone.folder)))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert the_run(done).result()["test"] == alone.result["test"]


def test_the_status_is_in_a_file_and_says_where(done: Path) -> None:
    status = json.loads((done / "jobs" / "run" / "status.json").read_text())
    assert (status["status"], status["process"]) == ("finished", os.getpid())


def test_preparing_tells_what_there_is_and_settles_the_speed(done: Path) -> None:
    room = json.loads((done / "jobs" / "prepare" / "status.json").read_text())["room"]
    assert room["cores"] == len(os.sched_getaffinity(0))
    assert 0.1 < room["run_gb"] < 100
    assert room["gpu_gb"] > 0 if torch.cuda.is_available() else room["gpu_gb"] == 0
    speed = json.loads((done / "speed.json").read_text())
    assert (speed["precision"], speed["channels_last"], speed["threads"]) == ("float32", False, 1)


def test_progress_and_log_are_files_too(done: Path) -> None:
    found = json.loads((done / "jobs" / "run" / "progress.json").read_text())
    assert found["step"] == found["steps"] > 0
    assert found["epoch"] == 1
    assert 0 <= found["macro_f1"] <= 1
    log = (done / "jobs" / "run" / "log.txt").read_text()
    assert "photos: 3 classes" in log
    assert "ce, seed 0: test macro-F1" in log


def test_duplicates_are_searched_once(
    done: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = done / "jobs" / "duplicates.npy"
    assert np.load(shared, allow_pickle=False).shape == (50,)
    monkeypatch.setattr("tailgrad.recipes.study_runs.duplicates_of", lambda *_: pytest.fail("searched again"))
    config = compose(str(photos), "quick", "ce", TINY)
    StudyRuns(tmp_path, open_source(photos), Talk(None), {}, shared).settle(config)


def test_preparing_again_makes_steps_too_which_show_what_a_run_needs(
    done: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    whole = choice.settle

    def watched(config: Config, *more: Any) -> Any:
        tried.append(config.train.precision)
        return whole(config, *more)

    monkeypatch.setattr("tailgrad.recipes.study_runs.settle", watched)
    before = (done / "speed.json").read_text()
    config = compose(str(photos), "quick", "ce", merge(TINY, {"train": {"precision": "auto"}}))
    StudyRuns(done, open_source(photos), Talk(None), {}).settle(config)
    assert tried == ["float32"]
    assert (done / "speed.json").read_text() == before


def test_what_a_study_has_settled_cannot_be_asked_for_otherwise(done: Path, photos: Path) -> None:
    config = compose(str(photos), "quick", "ce", merge(TINY, {"train": {"threads": 2}}))
    with pytest.raises(InputError, match=r"train.threads must stay as the study in .* with 1, got 2; leave"):
        StudyRuns(done, open_source(photos), Talk(None), {}).train(config)


def test_a_run_that_ended_before_its_task_did_is_not_run_again(
    done: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudyRuns, "train", lambda *_: pytest.fail("trained again"))
    assert work(task(done, photos))["status"] == "finished"


def test_one_that_is_interrupted_outside_of_training_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty reason would be none: the study would take itself for finished."""

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StudyRuns, "train", stopped)
    status = work(task(tmp_path, photos))
    assert (status["status"], status["text"]) == ("stopped", "stopped by the user")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros(49, np.int64), r"one group for each of 50 images, got int64 \(49,\): the data changed"),
        (np.zeros(50, np.float32), r"one group for each of 50 images, got float32"),
        (np.array([{"a": 1}], dtype=object), "must be a readable array, got Object arrays cannot be loaded"),
        (b"half", "must be a readable array, got"),
        (b"", "must be a readable array, got"),
    ],
)
def test_a_strange_file_of_duplicates_is_refused(
    photos: Path, tmp_path: Path, content: Any, said: str
) -> None:
    shared = tmp_path / "duplicates.npy"
    shared.write_bytes(content) if isinstance(content, bytes) else np.save(shared, content, allow_pickle=True)
    with pytest.raises(InputError, match=said):
        StudyRuns(tmp_path, open_source(photos), Talk(None), {}, shared).settle(
            compose(str(photos), "quick", "ce", TINY)
        )


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"optim": {"name": "sgd", "lr": 1e30}, "train": {"epochs": 3}}, "diverged", "loss is "),
        ({"focus": "thn"}, "input", "did you mean 'thin'"),
    ],
)
def test_failures_are_told_by_their_kind(
    photos: Path, tmp_path: Path, more: dict[str, Any], kind: str, said: str
) -> None:
    status = work(task(tmp_path / "study", photos, more=more))
    assert (status["status"], status["kind"]) == ("failed", kind)
    assert said in status["text"]
    place = tmp_path / "study" / "jobs" / "run"
    assert "Traceback" in (place / "traceback.txt").read_text()
    assert "Traceback" not in (place / "log.txt").read_text(), "the log is passed on to the user"


def test_a_missing_source_and_a_damaged_task_are_input_errors(photos: Path, tmp_path: Path) -> None:
    status = work(task(tmp_path, tmp_path / "nowhere"))
    assert (status["status"], status["kind"]) == ("failed", "input")
    assert "nowhere" in status["text"]
    (tmp_path / "jobs" / "run" / "task.json").write_text("{")
    assert "task.json must be a readable JSON object" in work(tmp_path / "jobs" / "run")["text"]


def test_a_folder_in_use_is_waited_for_and_then_a_kind_of_its_own(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with folder_lock(the_run(tmp_path).path):
        assert work(task(tmp_path, photos))["kind"] == "held"
    assert 30 <= sum(waited) <= 120


def test_time_that_is_used_up_is_no_failure(photos: Path, tmp_path: Path) -> None:
    short = {"train": {"max_minutes": 1e-6, "epochs": 5}}
    status = work(task(tmp_path, photos, more=short))
    assert status["status"] == "stopped"
    assert "the time was used up" in status["text"]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            MemoryError(),
            "memory",
            "out of memory (MemoryError); use fewer jobs or a smaller train.batch_size",
        ),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory.\nMore"),
            "memory",
            "out of memory (CUDA out of memory.); use fewer jobs or a smaller train.batch_size",
        ),
        (KeyError("x"), "error", "KeyError: 'x'"),
        (PermissionError("shut"), "input", "shut"),
    ],
)
def test_an_unforeseen_error_is_told(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, text: str
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(StudyRuns, "train", fails)
    status = work(task(tmp_path, photos))
    assert (status["kind"], status["text"]) == (kind, text)


@pytest.mark.slow
def test_a_process_ends_when_its_input_does(photos: Path, tmp_path: Path) -> None:
    place = task(tmp_path, photos, more={"train": {"epochs": 100_000}})
    words = [sys.executable, "-m", "tailgrad.recipes.worker", str(place / "task.json")]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        while not (place / "progress.json").exists():
            assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 3
    assert not (place / "status.json").exists()
