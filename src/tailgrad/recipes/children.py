"""Workers that are child processes of this one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tailgrad
from tailgrad.checks import InputError
from tailgrad.recipes.jobs import Room, Share, cores, divide
from tailgrad.recipes.run_folder import read_json

Status = dict[str, Any]
_GRACE = 10.0


class Children:
    """Processes on this machine, which end with this one, however it ends.

    Args:
        jobs: how many at once, or "auto".

    Example:
        >>> Children("auto").running
        []
    """

    def __init__(self, jobs: int | str) -> None:
        self.jobs = jobs
        self._at_work: dict[Path, subprocess.Popen[bytes]] = {}

    @property
    def running(self) -> list[Path]:
        """Folders of the tasks that are worked on."""
        return list(self._at_work)

    def first_threads(self, runs: int) -> int:
        """Threads of each of ``runs`` runs as long as nothing is known of their need."""
        return max(1, cores() // min(runs, cores() if self.jobs == "auto" else int(self.jobs)))

    def share(self, runs: int, room: Room, threads: int | None) -> Share:
        """What every run gets of this machine."""
        return divide(self.jobs, runs, room, threads)

    def start(self, place: Path, threads: int) -> None:
        """Start a process for the task of a folder.

        Args:
            place: holds ``task.json``.
            threads: of the CPU for it.
        """
        (place / "status.json").unlink(missing_ok=True)
        with (place / "log.txt").open("ab") as log:
            self._at_work[place] = subprocess.Popen(
                [sys.executable, "-P", "-m", "tailgrad.recipes.worker", str(place / "task.json")],
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=log,
                stderr=log,
                env=_environment(threads),
                start_new_session=True,  # Ctrl-C in a terminal reaches this one, which stops the rest
            )

    def ended(self) -> list[tuple[Path, Status]]:
        """Tasks whose process has ended since the last call, and what came of them."""
        over = [(place, child) for place, child in self._at_work.items() if child.poll() is not None]
        for place, child in over:
            del self._at_work[place]
            _close(child)
        return [(place, _status(place, child.returncode)) for place, child in over]

    def stop(self) -> None:
        """Ask every process to stop and end those that do not within a few seconds."""
        for child in self._at_work.values():
            child.send_signal(signal.SIGINT)
        end = time.monotonic() + _GRACE
        for child in self._at_work.values():
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            _close(child)
        self._at_work.clear()


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()


def _environment(threads: int) -> dict[str, str]:
    home = str(Path(tailgrad.__file__).resolve().parent.parent)
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}


def _status(place: Path, code: int) -> Status:
    try:
        return read_json(place / "status.json")
    except InputError:
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        return {"status": "died", "text": f"its process ended with {how}{_last_words(place / 'log.txt')}"}


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f" after {lines[-1][:200]!r}" if lines else ""
