"""One run of a study in a process of its own: ``python -m tailgrad.recipes.worker TASK.json``.

The task names everything by text and numbers; results stay in the study folder, and ``status.json`` beside
the task says how it ended. The process ends when its standard input does, so that no worker outlives the
study that started it.
"""

import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from tailgrad.checks import InputError
from tailgrad.engine import Diverged, Interrupted, ProgressFile
from tailgrad.files import write_json, write_text
from tailgrad.recipes.assemble import device_of
from tailgrad.recipes.compose import validate
from tailgrad.recipes.config import Config
from tailgrad.recipes.folder_lock import Held
from tailgrad.recipes.jobs import DUPLICATES, Room, cores, free_memory_gb, peak_memory_gb
from tailgrad.recipes.prepare import open_config
from tailgrad.recipes.run_folder import read_json
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.talk import Talk

Status = dict[str, Any]
_PATIENCE, _PAUSE = 20, 3.0
_CONTEXT_GB = 0.6
"""What PyTorch takes of a GPU before the first tensor, which its own count leaves out."""


class WorkerTalk(Talk):
    """Lines into the worker's log, progress into a file that the study reads.

    Args:
        place: folder of the task.
        log: open file.

    Example: see ``work``.
    """

    def __init__(self, place: Path, log: TextIO) -> None:
        super().__init__(Console(file=log, soft_wrap=True, force_terminal=False))
        self.place = place

    @contextmanager
    def progress(self, steps: int, title: str) -> Iterator[list[Any]]:  # noqa: ARG002 - the file is titled
        """One observer that writes ``progress.json``."""
        yield [ProgressFile(self.place / "progress.json", steps)]


def work(place: Path) -> Status:
    """Do the task of a folder; what comes of it is returned and written to ``status.json``.

    Args:
        place: folder of ``task.json``.

    Returns:
        ``status`` is "finished", "stopped" (time or Ctrl-C) or "failed"; then ``kind`` is "input",
        "diverged", "memory", "held" or "error", and ``text`` the message.

    Example: see ``tests/recipes/test_worker.py``.
    """
    with (place / "log.txt").open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        try:
            status = _done(place, WorkerTalk(place, log))
        except (Interrupted, KeyboardInterrupt) as stop:
            status = {"status": "stopped", "text": str(stop) or "stopped by the user"}
        except Exception as error:
            write_text(place / "traceback.txt", traceback.format_exc())
            status = {"status": "failed", "kind": _kind(error), "text": _message(error, _kind(error))}
    status |= {"process": os.getpid(), "machine": socket.gethostname()}
    write_json(place / "status.json", status)
    return status


def _done(place: Path, talk: WorkerTalk) -> Status:
    task = read_json(place / "task.json")
    config = validate(task["config"])
    if Path(task["cwd"]).is_dir():  # what the study was told by a relative path is found from there
        os.chdir(task["cwd"])
    _keep_to(config, task)
    free = free_memory_gb()
    runs = StudyRuns(Path(task["study"]), open_config(config), talk, {}, place.parent / DUPLICATES)
    if task["kind"] == "run":
        _train(runs, config)
        return {"status": "finished"}
    runs.settle(config)
    return {"status": "finished", "room": _room(config, free).to_dict()}


def _train(runs: StudyRuns, config: Config) -> None:
    """Train, once the run's folder is free: a worker that was lost with its node takes a moment to end.

    It may also have come to the end of the run and not to that of its task.
    """
    for _ in range(_PATIENCE):
        if runs.finished(config):
            return
        try:
            runs.train(config)
        except Held:
            time.sleep(_PAUSE)
        else:
            return
    runs.train(config)


def _keep_to(config: Config, task: Status) -> None:
    """Stay within the share of this machine."""
    if config.train.threads != "auto":
        torch.set_num_threads(config.train.threads)
    if task["gpu"] < 1 and device_of(config.train.device).type == "cuda":
        torch.cuda.set_per_process_memory_fraction(task["gpu"])


def _room(config: Config, free: float) -> Room:
    if device_of(config.train.device).type == "cpu":
        return Room(cores(), free, peak_memory_gb())
    there, whole = (size / 1e9 for size in torch.cuda.mem_get_info())
    own = torch.cuda.memory_reserved() / 1e9
    # The trial holds parameters and gradients; an optimiser keeps up to twice the parameters beside them.
    run = 1.5 * torch.cuda.max_memory_reserved() / 1e9 + _CONTEXT_GB
    return Room(cores(), free, peak_memory_gb(), min(whole, there + own), run)


def _kind(error: Exception) -> str:
    if isinstance(error, Held):
        return "held"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return "memory"
    return "input" if isinstance(error, InputError | OSError) else "error"


def _message(error: Exception, kind: str) -> str:
    name = type(error).__name__
    if kind == "memory":
        first = (str(error) or name).splitlines()[0][:200]
        return f"out of memory ({first}); use fewer jobs or a smaller train.batch_size"
    return f"{name}: {error}" if kind == "error" else str(error)


def end_with_input() -> None:
    """End this process at once when its standard input ends: whoever started it is gone.

    Example: see ``tests/recipes/test_many_runs.py``.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Work on the task named on the command line.

    Example: see ``tests/recipes/test_worker.py``.
    """
    end_with_input()
    work(Path(sys.argv[1]).parent)


if __name__ == "__main__":
    main()
