"""Runs commands of tailgrad in processes of their own, each ended as asked; imports everything once.

Reads one JSON object a line, answers with one. A run is a fork of this process, so that killing it with
SIGKILL costs no start-up. What ends it: a time, the n-th event of writing a file, or a half-written file.
"""

import fcntl
import itertools
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

FEW_BYTES = 10
MARK = "events: "


def preload() -> None:
    """Import what every run imports, some of it late, and start no thread."""
    import encodings.cp437  # noqa: F401  # of zip files; another user may not be able to read Python's folder

    import filelock  # noqa: F401
    import lightning.fabric  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch

    import tailgrad.cli.app
    import tailgrad.recipes.compare
    import tailgrad.recipes.train
    import tailgrad.report.figures

    torch.set_num_threads(1)
    tailgrad.recipes.configure.configure("digits-lt", method="crt")


class Events:
    """Notes what happens to partial files: clear (before and after), open, sync (written whole), move, after.

    Args:
        last: an event and at which of its occurrences this process kills itself; None for never.
        full: the same, for when the disk is full: no file may grow beyond a few bytes from then on.
    """

    def __init__(self, last: list[Any] | None, full: list[Any] | None) -> None:
        self.last, self.full = last, full
        self.seen: list[str] = []
        self._moved = ""

    def __call__(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self._moved:
            moved, self._moved = self._moved, ""
            self._note(f"after {moved}")
        if name == "open" and str(arguments[0]).endswith(".partial"):
            self._opened(*arguments)
        elif name == "os.remove" and str(arguments[0]).endswith(".partial"):
            self._note(f"clear {_bare(arguments[0])}")
        elif name == "os.rename":
            self._note(f"move {_bare(arguments[0])}")
            self._moved = _bare(arguments[0])

    def _opened(self, path: Any, _mode: Any, flags: int) -> None:
        if not flags & (os.O_WRONLY | os.O_RDWR):
            self._note(f"sync {_bare(path)}")
            return
        self._note(f"open {_bare(path)}")

    def _note(self, event: str) -> None:
        self.seen.append(event)
        now = [event, self.seen.count(event)]
        if now == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        if now == self.full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, resource.RLIM_INFINITY))


def _bare(path: Any) -> str:
    """The name without the number of the process."""
    return ".".join(part for part in Path(str(path)).name.split(".") if not part.isdigit())


def child(asked: dict[str, Any]) -> int:
    """Run the command; returns its status."""
    os.chdir(asked["folder"])
    os.environ.update(asked.get("environment", {}))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is then an error of the write
    events = Events(asked.get("event"), asked.get("full"))
    _unlike_others()
    if asked.get("falling_clock"):
        _let_the_clock_fall()
    if asked.get("user"):
        os.setgroups([])
        os.setgid(asked["user"])
        os.setuid(asked["user"])
    sys.addaudithook(events)
    status = _command(asked["words"])
    print(f"{MARK}{json.dumps(events.seen)}", file=sys.stderr)
    return status


def _let_the_clock_fall() -> None:
    """The wall clock goes back an hour whenever it is read, in another time zone."""
    hours = itertools.count()
    began = time.time()
    time.time = lambda: began - 3600 * next(hours)
    os.environ["TZ"] = "Pacific/Kiritimati"
    time.tzset()


def _unlike_others() -> None:
    """Generators in a state of their own, as in a process that was really started anew."""
    import numpy as np
    import torch

    torch.manual_seed(os.getpid())
    np.random.seed(os.getpid())  # noqa: NPY002
    random.seed(os.getpid())


def _command(words: list[str]) -> int:
    from tailgrad.cli.app import main

    sys.argv = ["tailgrad", *words]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def attempt(asked: dict[str, Any]) -> dict[str, Any]:
    """One run, to its end or until it is killed."""
    began, pipes = time.monotonic(), {1: os.pipe(), 2: os.pipe()}
    for read, write in pipes.values():
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)  # holds all that is printed
        os.set_blocking(read, False)
    number = os.fork()
    if number == 0:
        os.setsid()
        for stream, (_, write) in pipes.items():
            os.dup2(write, stream)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w") for stream in pipes)
        _end_with(asked)
    status = _wait(number, began, asked)
    ended = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}
    for _, write in pipes.values():
        os.close(write)
    return ended | {name: _said(pipes[stream][0]) for stream, name in ((1, "out"), (2, "err"))}


def _end_with(asked: dict[str, Any]) -> NoReturn:
    status = 1
    try:
        status = child(asked)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(status)


def _said(stream: int) -> str:
    with open(stream, "rb") as file:  # a number, no path
        return (file.read() or b"").decode(errors="replace")


def _wait(number: int, began: float, asked: dict[str, Any]) -> int:
    """Wait for the run; kill it and all it started at the time, or once the half-written file is there."""
    at, half = asked.get("seconds"), asked.get("half")
    while True:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            return status
        is_half = half is not None and _is_half(Path(asked["folder"]), half)
        if is_half or (at is not None and time.monotonic() - began >= at):
            os.killpg(number, signal.SIGKILL)
            return os.waitpid(number, 0)[1]
        time.sleep(0.0002 if half else 0.002)


def _is_half(folder: Path, pattern: str) -> bool:
    for path in folder.glob(pattern):
        try:
            if path.stat().st_size:
                return True
        except OSError:  # it was moved meanwhile
            continue
    return False


def serve() -> None:
    """Answer until the input ends."""
    preload()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
