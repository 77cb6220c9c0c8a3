"""Ctrl-C, divergence and failing disks: the status, the message, and what is on disk afterwards."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tailgrad.engine import checkpoint
from tailgrad.files import write_json
from tailgrad.recipes.run_folder import read_json

pytestmark = pytest.mark.long


def epochs(run: Path) -> int:
    log = run / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def hear_ctrl_c() -> None:
    """Undo what a shell does to commands in the background: they ignore Ctrl-C, and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_saves_and_prints_a_command_that_resumes(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    words = ["train", str(photos), "--recipe", "quick", *fast, "--set", "train.epochs=100000", "--out", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tailgrad", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    try:
        wait_for(lambda: epochs(here / "run") >= 2, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    kept = epochs(here / "run")
    last = err.splitlines()[-1]
    assert last.startswith(f"resume with: {sys.executable} -m tailgrad train ")
    resumed = cli(*shlex.split(last)[5:], "--max-minutes", "0.00001")
    assert resumed.status == 0, resumed.err
    assert "going on after epoch" in resumed.err
    result = read_json(here / "run" / "result.json")
    assert result["epochs"] in (kept, kept + 1)
    numbers = [
        json.loads(line)["epoch"] for line in (here / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert numbers == list(range(1, result["epochs"] + 1))


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize("moment", ["tailgrad.recipes.prepare.load_images", "tailgrad.recipes.finish.infer"])
def test_ctrl_c_outside_the_epochs_can_be_resumed_too(
    cli: Any,
    photos: Path,
    fast: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    moment: str,
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    one = ["--seeds", 1, "--methods", "csba"] if command == "compare" else []
    words = [command, photos, "--regime", "quick", *one, *fast, "--out", "made"]
    with monkeypatch.context() as patch:
        patch.setattr(moment, stop)
        stopped = cli(*words)
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err.splitlines()[-2] == "interrupted"
    line = stopped.err.splitlines()[-1]
    assert line.startswith(f"resume with: tailgrad {command} ")
    resumed = cli(*shlex.split(line)[3:])
    assert resumed.status == 0, resumed.err


def test_ctrl_c_in_other_commands_offers_no_resume(
    cli: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tailgrad.data.audit", stop)
    stopped = cli("audit", photos)
    assert (stopped.status, stopped.out, stopped.err) == (130, "", "interrupted\n")


def test_a_study_out_of_time_goes_on_with_the_printed_command(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    words = ["compare", photos, "--regime", "quick", "--seeds", 1, "--methods", "ce", *fast, "--out", "study"]
    stopped = cli(*words, "--max-minutes", "0.0000001")
    assert (stopped.status, stopped.out) == (130, "")
    assert "the time was used up" in stopped.err
    line = shlex.split(stopped.err.splitlines()[-1])
    assert line[-1] == "--resume"
    resumed = cli(*(word if word != "0.0000001" else "10" for word in line[3:]))
    assert resumed.status == 0, resumed.err


def test_a_diverged_run_ends_with_status_1_and_names_its_images(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    wild = ["--set", "optim.name=sgd", "--set", "optim.lr=1e30", "--set", "train.epochs=5"]
    failed = cli("train", photos, "--regime", "quick", *fast, *wild, "--out", "run", "--json")
    assert (failed.status, failed.out) == (1, "")
    last = failed.err.splitlines()[-1]
    assert last.startswith("error: loss is ")
    assert ".png" in last
    assert "lower optim.lr" in last
    assert not (here / "run" / "result.json").exists()


class Full:
    """A disk that is full from the n-th call of a writer on."""

    def __init__(self, writer: Any, n: int) -> None:
        self.writer, self.left = writer, n

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left > 0:
            return self.writer(*arguments, **options)
        place = next(Path(a) for a in arguments if isinstance(a, str | Path))
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_disk_that_is_full_before_the_first_epoch_leaves_nothing(
    cli: Any, photos: Path, fast: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(checkpoint, "save_file", Full(checkpoint.save_file, 1))
    refused = cli(command, photos, "--regime", "quick", *fast, "--out", "made")
    assert "No space left on device; free some space" in refused.error
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("writer", "n", "finished"),
    [
        ("tailgrad.engine.checkpoint.save_file", 3, 1),
        ("tailgrad.recipes.predictions.pq.ParquetWriter", 1, 2),
    ],
)
def test_a_disk_that_fills_up_later_keeps_what_was_written_and_resumes(
    cli: Any,
    photos: Path,
    fast: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    writer: str,
    n: int,
    finished: int,
) -> None:
    words = ["train", photos, "--recipe", "quick", *fast, "--set", "train.epochs=2", "--out", "run"]
    whole = {"tailgrad.engine.checkpoint.save_file": checkpoint.save_file}.get(writer, pq.write_table)
    with monkeypatch.context() as patch:
        patch.setattr(writer, Full(whole, n))
        assert "No space left on device" in cli(*words).error
    held = {path.name for path in (here / "run").rglob("*")}
    assert not any(name.endswith(".partial") for name in held)
    assert not held & {"result.json", "predictions.parquet", "report.html"}
    last = checkpoint.load_weights(here / "run" / "checkpoint" / "last.safetensors")[1]
    assert last["progress"]["epoch"] == finished
    assert cli(*words, "--resume").status == 0


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    cli: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    monkeypatch.setattr(Path, "write_text", lambda self, *_: Full(None, 1)(self))
    assert "cannot write" in cli("report", run).error
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_something_in_the_way_of_the_result(cli: Any, photos: Path, fast: list[str], here: Path) -> None:
    words = ["train", photos, "--recipe", "quick", *fast, "--out", "run"]
    assert cli(*words).status == 0
    (here / "run" / "result.json").unlink()
    (here / "run" / "predictions.parquet").unlink()
    write_json(here / "run" / "predictions.parquet" / "in-the-way.json", {})
    assert "cannot write run/predictions.parquet: Is a directory" in cli(*words, "--resume").error
    assert not list((here / "run").rglob("*.partial"))
    assert not (here / "run" / "result.json").exists()
