"""The runs of a study side by side: who works on what, what is tried again, how it ends.

Every run is a task in a folder of its own under ``jobs/`` of the study: ``task.json``, ``progress.json``,
``log.txt`` and, at the end, ``status.json`` (and ``traceback.txt``). Workers are child processes or tasks of
a Ray cluster; they read and write nothing but these files, the source and the study folder.
"""

import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from tailgrad.checks import InputError
from tailgrad.engine import Diverged, Interrupted
from tailgrad.files import write_json
from tailgrad.recipes.config import Config
from tailgrad.recipes.jobs import Room, Share, room_of
from tailgrad.recipes.run_folder import read_json
from tailgrad.recipes.runs_display import RunsDisplay, read_progress
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.task import headline

Status = dict[str, Any]
RETRIES = 2
"""How often a run whose process died is tried again."""
_PAUSE = 0.2


class Workers(Protocol):
    """Whoever works on tasks: processes here, or a cluster."""

    @property
    def running(self) -> list[Path]:
        """Folders of the tasks that are worked on."""

    def first_threads(self, runs: int) -> int:
        """Threads of each of ``runs`` runs as long as nothing is known of their need."""

    def share(self, runs: int, room: Room, threads: int | None, /) -> Share:
        """What every run gets."""

    def start(self, place: Path, threads: int) -> None:
        """Begin with the task of a folder."""

    def ended(self) -> list[tuple[Path, Status]]:
        """Tasks that ended since the last call; status "died" where nobody said how."""

    def stop(self) -> None:
        """End them all."""


def run_many(runs: StudyRuns, plans: Sequence[Config], workers: Workers) -> None:
    """Train what is missing of a study, several runs at once.

    A run whose process dies is tried again and goes on from its checkpoint; one that fails does not stop the
    others.

    Args:
        runs: of the study.
        plans: all its configurations.
        workers: who does it.

    Raises:
        InputError: the data cannot be had, or runs failed; they are named.
        Diverged: the same, where each of them diverged.
        Interrupted: by Ctrl-C, or the time was used up.

    Example: see ``tests/recipes/test_many_runs.py``.
    """
    pending = [config for config in plans if not runs.finished(config)]
    if not pending:
        return
    jobs = runs.path / "jobs"
    shutil.rmtree(jobs, ignore_errors=True)
    try:
        share = _prepare(_Desk(runs, jobs), pending, workers)
        runs.talk(share.why)
        with RunsDisplay(runs.talk.console, len(pending), len(plans)) as display:
            failed = _Drive(_Desk(runs, jobs, share), workers, display).all(pending)
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped by the user; what is finished in {runs.path} is kept") from error
    finally:
        workers.stop()
    if failed:
        raise failure(failed, len(plans), runs.path)
    shutil.rmtree(jobs, ignore_errors=True)


def failure(failed: Mapping[str, Status], total: int, folder: Path) -> Exception:
    """The error of a study of which some runs failed.

    Example:
        >>> failure({"csba seed 1": {"kind": "diverged", "text": "loss is nan"}}, 4, Path("study"))
        Diverged('1 of 4 runs failed, the others in study are kept: csba seed 1: loss is nan')
    """
    told = "; ".join(f"{run}: {status['text']}" for run, status in failed.items())
    others = f", the others in {folder} are kept" if len(failed) < total else ""
    if not others and (folder / "jobs").is_dir():
        others = f", see the logs in {folder}/jobs"
    text = f"{len(failed)} of {total} runs failed{others}: {told}"
    diverged = all(status.get("kind") == "diverged" for status in failed.values())
    return Diverged(text) if diverged else InputError(text)


def title(config: Config) -> str:
    """What a run is called on the screen.

    Example:
        >>> title(Config(source="x", method="csba", seed=2))
        'csba seed 2'
    """
    split = "" if config.split_seed is None else f" split {config.split_seed}"
    return f"{config.method} seed {config.seed}{split}"


@dataclass(frozen=True)
class _Desk:
    """Where tasks are written."""

    runs: StudyRuns
    jobs: Path
    share: Share = field(default_factory=lambda: Share(jobs=1, threads=1))

    def write(self, kind: str, config: Config) -> Path:
        place = self.jobs / (kind if kind == "prepare" else self.runs.folder(config).path.name)
        task = {
            "kind": kind,
            "study": str(self.runs.path.resolve()),
            "cwd": str(Path.cwd()),
            "gpu": self.share.gpu,
            "config": config.model_dump(mode="json"),
        }
        write_json(place / "task.json", task)
        return place.resolve()


def _prepare(desk: _Desk, pending: Sequence[Config], workers: Workers) -> Share:
    """Do once what all runs share; its trial says how many fit side by side."""
    first, speed = pending[0], desk.runs.path / "speed.json"
    settled = read_json(speed).get("threads") if speed.exists() else None
    threads = settled if first.train.threads == "auto" else first.train.threads
    desk.runs.talk("preparing the data and timing a step")
    config = _with_threads(first, threads or workers.first_threads(len(pending)))
    status = _alone(desk.write("prepare", config), config, desk, workers)
    share = workers.share(len(pending), room_of(status["room"]), threads)
    write_json(speed, read_json(speed) | {"threads": share.threads})
    return share


def _alone(place: Path, config: Config, desk: _Desk, workers: Workers) -> Status:
    """Wait for one task, whose words are passed on."""
    said = _lines(place / "log.txt")
    status: Status = {}
    for _ in range(1 + RETRIES):
        workers.start(place, int(config.train.threads))
        while workers.running:
            time.sleep(_PAUSE)
            ended = dict(workers.ended())
            _pass_on(said, desk)
            status = ended.get(place, status)
        if status["status"] != "died":
            break
    if status["status"] == "stopped":
        raise Interrupted(status["text"])
    if status["status"] != "finished":
        raise InputError(status["text"])
    return status


def _pass_on(said: Iterator[str | None], desk: _Desk) -> None:
    for line in takewhile(lambda one: one is not None, said):
        desk.runs.talk(str(line))


def _lines(path: Path) -> Iterator[str | None]:
    """Lines of a file as they come; None where there is no further one yet."""
    place, rest = 0, ""
    while True:
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(place)
                rest += file.read()
                place = file.tell()
        *whole, rest = rest.split("\n")
        yield from whole
        yield None


def _with_threads(config: Config, threads: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"threads": threads})})


class _Drive:
    """Gives out the tasks and takes back what comes of them."""

    def __init__(self, desk: _Desk, workers: Workers, display: RunsDisplay) -> None:
        self.desk, self.workers, self.display = desk, workers, display
        self.waiting: deque[Config] = deque()
        self.at_work: dict[Path, Config] = {}
        self.tries: Counter[str] = Counter()
        self.failed: dict[str, Status] = {}
        self.warned: set[str] = set()
        self.stopped = ""

    def all(self, pending: Sequence[Config]) -> dict[str, Status]:
        """The runs that failed; every other one is finished."""
        self.waiting.extend(pending)
        while self.waiting or self.at_work:
            self._give_out()
            for place, status in self.workers.ended():
                self._take(self.at_work.pop(place), place, status)
            self.display.show({title(c): read_progress(p / "progress.json") for p, c in self.at_work.items()})
            time.sleep(_PAUSE)
        if self.stopped and not self.failed:
            raise Interrupted(self.stopped)
        return self.failed

    def _give_out(self) -> None:
        while self.waiting and len(self.at_work) < self.desk.share.jobs:
            config = self.waiting.popleft()
            try:
                limited = self.desk.runs.within_time(config)
            except Interrupted as stop:
                self._stop(str(stop))
                return
            threads = self.desk.share.threads
            place = self.desk.write("run", _with_threads(limited, threads))
            (place / "progress.json").unlink(missing_ok=True)
            self.workers.start(place, threads)
            self.at_work[place] = config

    def _take(self, config: Config, place: Path, status: Status) -> None:
        run = title(config)
        self._pass_on_warnings(place)
        if status["status"] == "finished":
            self.display.over(run, f"{run}: {headline(self.desk.runs.folder(config).result())}")
        elif status["status"] == "stopped":
            self._stop(status["text"])
        elif self._is_worth_a_retry(status) and self.tries[run] < RETRIES:
            self.tries[run] += 1
            self.display.say(f"{run}: {status['text']}; trying again, {self.tries[run]} of {RETRIES}")
            self.waiting.append(config)
        else:
            self.failed[run] = status
            self.display.over(run, f"{run} failed: {status['text']}")

    def _stop(self, why: str) -> None:
        """Begin nothing new; what runs has the same limit."""
        self.stopped = self.stopped or why
        self.waiting.clear()

    @staticmethod
    def _is_worth_a_retry(status: Status) -> bool:
        return status["status"] == "died" or status.get("kind") == "held"

    def _pass_on_warnings(self, place: Path) -> None:
        log = place / "log.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        for line in lines:
            if line.startswith("warning: ") and line not in self.warned:
                self.warned.add(line)
                self.display.say(line)
