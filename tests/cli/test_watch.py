"""Following a run in a terminal: real processes, and a real (pseudo) terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "tailgrad"]


def read_until(terminal: int, words: str, seconds: float = 120) -> str:
    """What a terminal shows until it shows ``words``, its program ends, or the time is over."""
    end, shown = time.monotonic() + seconds, ""
    while time.monotonic() < end and words not in shown:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the program has ended
            break
        shown += data.decode(errors="replace")
    return shown


def test_a_finished_run_in_sixty_columns(cli: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = cli("watch", run, "--once")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:2] == ["one", next(line for line in lines if line.startswith("finished: epoch 1 of 1"))]
    assert any(line.startswith("worst classes (recall, epoch 1, which is kept): ") for line in lines)
    assert any(line.startswith("conflict: Mean conflict") for line in lines)
    assert lines[-1].startswith("test macro-F1 0.")
    assert max(map(len, lines)) <= 60


def test_a_study_is_a_table(cli: Any, study: Path) -> None:
    done = cli("watch", study, "--once")
    first, *rows = done.out.splitlines()
    assert first == "one: 2 of 2 runs finished; nobody works on it"
    assert len(rows) == 2
    assert all("finished" in row for row in rows)


def test_what_is_no_run_is_refused(cli: Any, here: Path) -> None:
    assert "folder must be a run or a study, got nothing" in cli("watch", "nothing").error


def test_without_utf8_the_curves_are_plain(run: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*COMMAND, "watch", str(run), "--once"], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "\\u" not in done.stdout
    assert "loss " in done.stdout


WRITER = """
import json, os, pathlib, platform, time
run = pathlib.Path("run")
run.mkdir()

def write(name, text):
    (run / "partial").write_text(text)
    (run / "partial").replace(run / name)

holder = {"process": os.getpid(), "machine": platform.node(), "since": "now"}
write(".lock.json", json.dumps(holder))
write("config.yaml", "source: x\\nmethod: csba\\ntrain: {epochs: 100000, monitor: macro_f1}\\n")
rows = ""
for epoch in range(1, 100000):
    row = {"epoch": epoch, "train_loss": 1 / epoch, "val_macro_f1": 0.5, "seconds": 0.1 * epoch}
    rows += json.dumps(row) + chr(10)
    write("metrics.jsonl", rows)
    time.sleep(0.1)
"""


@pytest.fixture
def going(here: Path) -> Any:
    """A process that writes what a run writes, without training anything."""
    process = subprocess.Popen([sys.executable, "-c", WRITER])
    try:
        end = time.monotonic() + 60
        while not (here / "run" / "metrics.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_follows_a_run_on_a_terminal_until_that_ends(going: Any, cli: Any, here: Path) -> None:
    ours, theirs = pty.openpty()
    watcher = subprocess.Popen(
        [*COMMAND, "watch", "run", "--every", "0.2"], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        seen = read_until(ours, " left")
        assert watcher.poll() is None, seen
        assert "running: epoch" in seen
        assert "at most" in seen
        going.kill()
        going.wait()
        assert "nobody works on it" in read_until(ours, "nobody works on it")
        read_until(ours, "until its end")
        assert watcher.wait(timeout=60) == 0
    finally:
        watcher.kill()
        os.close(ours)
    assert "unfinished: epoch" in cli("watch", "run").out


def test_ctrl_c_ends_it_quietly(going: Any, here: Path) -> None:
    ours, theirs = pty.openpty()
    watcher = subprocess.Popen(
        [*COMMAND, "watch", "run"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    try:
        read_until(ours, "running")
        watcher.send_signal(signal.SIGINT)
        after = read_until(ours, "until its end")
        assert watcher.wait(timeout=60) == 130
        assert "Traceback" not in after
        assert "interrupted" in after
    finally:
        watcher.kill()
        os.close(ours)
    assert going.poll() is None, "the run goes on"
