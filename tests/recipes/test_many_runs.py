"""Runs side by side: the same results as one after the other, whatever happens to the processes."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tailgrad.checks import InputError
from tailgrad.engine import Diverged, Interrupted, load_weights
from tailgrad.losses import FocalLoss
from tailgrad.recipes import compare, jobs
from tailgrad.recipes.children import Children
from tailgrad.recipes.compose import merge
from tailgrad.recipes.config import Config, TrainConfig
from tailgrad.recipes.jobs import Room, Share, check_jobs, cores, divide, free_memory_gb, peak_memory_gb
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.runs_display import RunsDisplay, read_progress
from tailgrad.recipes.spread import Spread

pytestmark = pytest.mark.long

TINY: dict[str, Any] = {
    "model": {"name": "resnet32"},
    "data": {"size": 16, "near_duplicates": False},
    "train": {"epochs": 2, "batch_size": 16, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"enabled": False},
}
LONG = merge(TINY, {"train": {"epochs": 12, "save_minutes": 0}})


def study(photos: Path, out: Path, over: dict[str, Any] = TINY, **more: Any) -> Any:
    options: dict[str, Any] = {"seeds": 1, "regime": "quick", "overrides": over, "out": out} | more
    return compare(photos, options.pop("methods", ["ce", "focal"]), **options)


def same(one: Path, other: Path) -> bool:
    """Whether two studies hold the same weights and figures, bit for bit."""
    names = sorted(path.name for path in (one / "runs").iterdir())
    assert names == sorted(path.name for path in (other / "runs").iterdir())
    for name in names:
        a, b = (RunFolder(folder / "runs" / name) for folder in (one, other))
        ours, theirs = (load_weights(run.weights)[0] for run in (a, b))
        if not all(torch.equal(ours[key], theirs[key]) for key in ours):
            return False
        if any(a.result()[key] != b.result()[key] for key in ("test", "val", "best_epoch", "epochs")):
            return False
    return True


@pytest.fixture(scope="module")
def serial(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(study(photos, tmp_path_factory.mktemp("serial") / "s").folder)


@pytest.fixture(scope="module")
def serial_long(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(study(photos, tmp_path_factory.mktemp("serial") / "long", LONG).folder)


@pytest.fixture(scope="module")
def parallel(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study of two child processes, and what was said."""
    said = io.StringIO()
    out = tmp_path_factory.mktemp("parallel") / "s"
    study(photos, out, jobs=2, console=Console(file=said, soft_wrap=True))
    return out, said.getvalue()


def test_two_at_a_time_give_the_same_bits_as_one_after_the_other(
    serial: Path, parallel: tuple[Path, str]
) -> None:
    assert same(serial, parallel[0])
    rows = [json.loads((folder / "comparison.json").read_text()) for folder in (serial, parallel[0])]
    assert rows[0] == rows[1]


def test_nothing_but_the_contract_is_left(serial: Path, parallel: tuple[Path, str]) -> None:
    names = [{path.name for path in folder.iterdir()} for folder in (serial, parallel[0])]
    assert names[0] == names[1]


def test_what_is_said_off_a_terminal_is_a_line_a_run(parallel: tuple[Path, str]) -> None:
    lines = parallel[1].splitlines()
    assert any(re.fullmatch(r"2 at a time; 1 thread and about \d+\.\d GB of memory each.*", x) for x in lines)
    over = [line for line in lines if "test macro-F1" in line]
    assert [line.rpartition(" (")[2] for line in over] == ["1 of 2)", "2 of 2)"]
    assert {line.split(":")[0] for line in over} == {"ce seed 0", "focal seed 0"}
    assert "\x1b" not in parallel[1]


class Scripted:
    """Workers that do nothing but end as they are told; a finished one copies a run of another study."""

    def __init__(self, source: Path, script: dict[str, list[dict[str, Any]]]) -> None:
        self.source, self.script = source, script
        self.started: list[str] = []
        self.running: list[Path] = []
        self.most = 0

    def first_threads(self, _: int) -> int:
        return 1

    def share(self, *_: Any) -> Share:
        return Share(2, 1)

    def start(self, place: Path, _: int) -> None:
        self.started.append(place.name.rpartition(".split")[0].rpartition(".")[2] or place.name)
        self.running.append(place)
        self.most = max(self.most, len(self.running))

    def ended(self) -> list[tuple[Path, dict[str, Any]]]:
        if not self.running:
            return []
        place = self.running.pop(0)
        name = place.name.rpartition(".split")[0].rpartition(".")[2] or place.name
        steps = self.script.get(name, [])
        status = steps.pop(0) if steps else {"status": "finished"}
        if place.name == "prepare" and status["status"] == "finished":
            (place.parent.parent / "speed.json").write_text((self.source / "speed.json").read_text())
            status = status | {"room": Room(2, 8.0, 1.0).to_dict()}
        elif status["status"] == "finished":
            target = place.parent.parent / "runs" / place.name
            subprocess.run(["cp", "-r", self.source / "runs" / place.name, target], check=True)
        return [(place, status)]

    def stop(self) -> None:
        self.running.clear()


DIED = {"status": "died", "text": "its process ended with SIGKILL"}
NAN = {"status": "failed", "kind": "diverged", "text": "loss is nan"}
BAD = {"status": "failed", "kind": "input", "text": "no such key"}


@pytest.fixture
def scripted(
    serial: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Scripted, str]]:
    """A study whose workers follow a script; an error of the study is left in the text."""

    def go(script: dict[str, list[dict[str, Any]]], **more: Any) -> tuple[Scripted, str]:
        workers = Scripted(serial, {name: list(steps) for name, steps in script.items()})
        monkeypatch.setattr("tailgrad.recipes.spread.Children", lambda _: workers)
        monkeypatch.setattr("tailgrad.recipes.many_runs._PAUSE", 0.0)
        said = io.StringIO()
        (tmp_path / "s" / "runs").mkdir(parents=True, exist_ok=True)
        try:
            study(
                photos,
                tmp_path / "s",
                jobs=2,
                resume=True,
                console=Console(file=said, soft_wrap=True),
                **more,
            )
        except (InputError, Diverged, Interrupted) as error:
            return workers, f"{said.getvalue()}{type(error).__name__}: {error}"
        return workers, said.getvalue()

    return go


def test_a_run_whose_process_dies_is_tried_again(scripted: Any) -> None:
    workers, said = scripted({"ce": [DIED, DIED], "prepare": [DIED]})
    assert sorted(workers.started) == ["ce", "ce", "ce", "focal", "prepare", "prepare"]
    assert "ce seed 0: its process ended with SIGKILL; trying again, 1 of 2" in said
    assert "trying again, 2 of 2" in said
    assert "Error" not in said


def test_one_that_keeps_dying_is_reported_at_last(scripted: Any) -> None:
    workers, said = scripted({"ce": [DIED] * 9})
    assert workers.started.count("ce") == 3
    assert said.splitlines()[-1].startswith("InputError: 1 of 2 runs failed, the others in ")
    assert said.endswith("are kept: ce seed 0: its process ended with SIGKILL")


def test_a_failed_run_does_not_stop_the_others_and_the_study_goes_on_later(
    scripted: Any, serial: Path, tmp_path: Path
) -> None:
    workers, said = scripted({"ce": [NAN]})
    assert workers.started == ["prepare", "ce", "focal"]
    assert "ce seed 0 failed: loss is nan (1 of 2)" in said
    assert said.splitlines()[-1].startswith("Diverged: 1 of 2 runs failed")
    assert not (tmp_path / "s" / "comparison.json").exists()
    again, said = scripted({})
    assert again.started == ["prepare", "ce"]
    assert "Error" not in said
    assert same(tmp_path / "s", serial)


def test_input_errors_weigh_more_than_divergence(scripted: Any) -> None:
    _, said = scripted({"ce": [NAN], "focal": [BAD]})
    assert said.splitlines()[-1].startswith("InputError: 2 of 2 runs failed")
    assert "ce seed 0: loss is nan; focal seed 0: no such key" in said


def test_what_cannot_be_prepared_is_an_error_before_any_run(scripted: Any) -> None:
    workers, said = scripted({"prepare": [BAD]})
    assert workers.started == ["prepare"]
    assert said.endswith("InputError: no such key")


def test_a_folder_still_held_by_a_dying_process_is_tried_again(scripted: Any) -> None:
    workers, said = scripted({"ce": [{"status": "failed", "kind": "held", "text": "in use by process 7"}]})
    assert workers.started.count("ce") == 2
    assert "in use by process 7; trying again" in said


def test_time_used_up_begins_nothing_new(scripted: Any, photos: Path, tmp_path: Path) -> None:
    stopped = {"status": "stopped", "text": "the time was used up in x"}
    workers, said = scripted({"ce": [stopped]}, methods=["ce", "focal"])
    assert said.splitlines()[-1].startswith("Interrupted: the time was used up in x")
    workers, said = scripted({}, over=merge(TINY, {"train": {"max_minutes": 1e-9}}))
    assert [name for name in workers.started if name != "prepare"] == []
    assert "Interrupted: the time was used up" in said


def test_no_more_at_once_than_the_share_says(scripted: Any) -> None:
    workers, _ = scripted({})
    assert workers.most == 2


def test_a_finished_study_starts_no_process(
    photos: Path, serial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Children, "start", lambda *_: pytest.fail("a process was started"))
    study(photos, serial, jobs=2, resume=True)


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "many", True, "2.0"])
def test_a_wrong_number_of_jobs(photos: Path, tmp_path: Path, jobs: Any) -> None:
    with pytest.raises(InputError, match=f"jobs must be a whole number .* got {jobs!r}"):
        study(photos, tmp_path / "s", jobs=jobs)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"engine": "rya"}, "engine must be a known name, got 'rya'; did you mean 'ray'"),
        ({"address": "auto"}, "address must come with engine=ray, got 'auto' with 'local'"),
        ({"jobs": 2, "methods": {"mine": torch.nn.CrossEntropyLoss}}, "jobs=2 with the loss class of 'mine'"),
        ({"engine": "ray", "methods": {"mine": torch.nn.CrossEntropyLoss}}, "engine=ray with the loss class"),
    ],
)
def test_what_cannot_be_spread(photos: Path, tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        study(photos, tmp_path / "s", **more)
    assert not (tmp_path / "s").exists()


def test_python_objects_stay_in_this_process_and_auto_says_so() -> None:
    said: list[str] = []
    talk: Any = said.append
    with pytest.raises(InputError, match="got jobs=3 with the images, a Python object"):
        Spread(3).checked(Config(source="python"), {}, talk)
    assert Spread("auto").checked(Config(source="python"), {"mine": FocalLoss}, talk) == Spread(1)
    assert said == [
        "one run at a time: the images, a Python object and the loss class of 'mine' cannot be handed to "
        "another process"
    ]
    assert Spread(3).checked(Config(source="photos"), {}, talk) == Spread(3)


def test_one_run_over_several_processes_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    talk: Any = print
    two = Config(source="x", train=TrainConfig(devices=2))
    assert Spread(1).checked(two, {}, talk) == Spread(1)
    with pytest.raises(InputError, match="got jobs=2, engine=local with train.devices=2"):
        Spread(2).checked(two, {}, talk)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="got jobs=auto, engine=ray with torchrun"):
        Spread("auto", "ray").checked(Config(source="x"), {}, talk)


rooms = st.builds(
    Room,
    cores=st.integers(1, 64),
    memory_gb=st.floats(0.1, 500),
    run_gb=st.floats(0.1, 50),
    gpu_gb=st.sampled_from([0.0, 16.0, 140.0]),
    gpu_run_gb=st.floats(0.5, 50),
)


@given(rooms, st.integers(1, 100))
def test_auto_stays_within_memory_and_cores(room: Room, runs: int) -> None:
    share = divide("auto", runs, room)
    assert 1 <= share.jobs <= runs
    assert share.threads >= 1
    if share.jobs > 1:
        assert share.jobs * room.run_gb <= room.memory_gb
        assert share.jobs * room.gpu_run_gb <= room.gpu_gb or not room.gpu_gb
        assert share.jobs * share.threads <= room.cores or room.gpu_gb
        assert "warning" not in share.why or room.gpu_gb
    assert share.gpu == (1 / share.jobs if room.gpu_gb else 1)
    # One more would not fit: something named in the reason is used up.
    if share.jobs < min(runs, room.cores) and not room.gpu_gb:
        assert (share.jobs + 1) * room.run_gb > room.memory_gb
        assert "memory" in share.why


@given(rooms, st.integers(1, 100), st.integers(1, 64))
def test_threads_that_are_fixed_stay_and_a_number_is_obeyed(room: Room, runs: int, number: int) -> None:
    assert divide("auto", runs, room, threads=3).threads == 3
    share = divide(number, runs, room)
    assert share.jobs == min(number, runs)
    if share.jobs > 1 and share.jobs * room.run_gb > room.memory_gb:
        assert "warning: only" in share.why


def test_the_machine_is_read_as_another_library_reads_it() -> None:
    assert cores() == len(psutil.Process().cpu_affinity())
    assert free_memory_gb() == pytest.approx(psutil.virtual_memory().available / 1e9, rel=0.3)
    assert check_jobs("3") == 3


def test_a_limit_around_this_process_counts_and_copies_of_files_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(jobs, "_OWN_GROUP", tmp_path / "own")
    inner = tmp_path / "groups" / "job_7" / "step_0"
    inner.mkdir(parents=True)
    (tmp_path / "own").write_text("4:memory:/else\n0::/job_7/step_0\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("90000000\n")
    whole = free_memory_gb()
    (inner.parent / "memory.max").write_text("100000000\n")
    (inner.parent / "memory.current").write_text("90000000\n")
    assert free_memory_gb() == pytest.approx(0.01)
    (inner.parent / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    assert free_memory_gb() == pytest.approx(0.03)
    (tmp_path / "own").write_text("0::/\n")
    assert free_memory_gb() == pytest.approx(whole, rel=0.3) != 0.03


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no other figure is to be had")
def test_the_memory_of_a_process_is_its_own_and_not_of_who_started_it() -> None:
    ours = bytearray(b"x") * 400_000_000
    code = "from tailgrad.recipes.jobs import peak_memory_gb as p; print(p())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.005 < float(told.stdout) < 0.3 < len(ours) / 1e9 < peak_memory_gb()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"steps": 1}', '{"steps": "x", "step": 0}'])
def test_progress_that_cannot_be_read_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "p.json").write_text(content)
    assert read_progress(tmp_path / "p.json") == {}


def test_the_display_on_a_terminal_fits_eighty_columns_and_counts() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    long = "a_method_with_a_very_long_name_indeed seed 3"
    with RunsDisplay(console, runs=3, total=4) as display:
        display.show({"ce seed 0": {"step": 5, "steps": 10, "epoch": 3, "loss": 0.5}, long: {}})
        display.over("ce seed 0", "ce seed 0: test macro-F1 0.5")
        display.show({long: {"step": 9, "steps": 10, "epoch": 29, "loss": 12.3456, "macro_f1": 0.987654}})
        assert display.share_done == pytest.approx((1 + 0.9) / 3)
        display._progress.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "ce seed 0: test macro-F1 0.5 (2 of 4)" in shown
    assert "a_method_with...eed seed 3" in shown
    assert "epoch 29 loss 12.346 macro-F1 0.988" in shown
    assert max(len(line) for part in shown.split("\n") for line in part.split("\r")) <= 80


def test_the_display_off_a_terminal_speaks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with RunsDisplay(Console(file=stream, soft_wrap=True), runs=2, total=2) as display:
        for second in range(200):
            now[0] = float(second)
            display.show({"ce seed 0": {"step": second, "steps": 200, "epoch": 1, "loss": 0.5}})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4  # after 10 seconds, then every minute
    assert lines[-1] == "0 of 2 runs over, about 4 min left; ce seed 0 epoch 1 loss 0.500"


def wait_for(condition: Callable[[], Any], seconds: float = 400) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def children_of(process: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(process).children(recursive=True)
        if "tailgrad.recipes.worker" in " ".join(child.cmdline())
    ]


@pytest.mark.slow
def test_a_killed_child_is_tried_again_and_ends_with_the_same_bits(
    photos: Path, tmp_path: Path, serial_long: Path
) -> None:
    said = io.StringIO()
    killed: list[int] = []

    def kill_one() -> None:
        wait_for(lambda: [p for p in tmp_path.glob("s/jobs/*ce*/progress.json") if read_progress(p)])
        child = next(c for c in children_of(os.getpid()) if ".ce." in " ".join(c.cmdline()))
        child.send_signal(signal.SIGKILL)
        killed.append(child.pid)

    thread = threading.Thread(target=kill_one)
    thread.start()
    study(photos, tmp_path / "s", LONG, jobs=2, console=Console(file=said, soft_wrap=True))
    thread.join()
    assert killed
    assert "ce seed 0: its process ended with SIGKILL" in said.getvalue()
    assert same(serial_long, tmp_path / "s")


def command(photos: Path, out: Path) -> list[str]:
    sets = [
        "model.name=resnet32",
        "data.size=16",
        "data.near_duplicates=false",
        "train.epochs=12",
        "train.batch_size=16",
        "train.precision=float32",
        "train.channels_last=false",
        "train.threads=1",
        "train.save_minutes=0",
        "interference.enabled=false",
    ]
    words = ["compare", str(photos), "--regime", "quick", "--methods", "ce,focal", "--seeds", "1"]
    settings = [word for one in sets for word in ("--set", one)]
    return [sys.executable, "-m", "tailgrad", *words, "--jobs", "2", *settings, "--out", str(out), "--resume"]


def hear_ctrl_c() -> None:
    """Undo what a shell does to commands in the background: they ignore Ctrl-C, and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_child_outlives_its_study_which_can_be_resumed(
    photos: Path, tmp_path: Path, serial_long: Path, how: signal.Signals
) -> None:
    words = command(photos, tmp_path / "s")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c) as process:
        try:
            wait_for(lambda: [p for p in tmp_path.glob("s/jobs/*/progress.json") if read_progress(p)])
            children = children_of(process.pid)
            assert children
            process.send_signal(how)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    psutil.wait_procs(children, timeout=20)
    assert not any(child.is_running() and child.status() != "zombie" for child in children)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert "stopped by the user" in err
        assert err.splitlines()[-1].startswith(f"resume with: {sys.executable} -m tailgrad compare ")
        assert "Traceback" not in err
    subprocess.run(words, check=True, capture_output=True)
    assert same(serial_long, tmp_path / "s")
