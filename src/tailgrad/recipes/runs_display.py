"""One display for many runs: a line a run and one for all on a terminal, plain lines elsewhere."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tailgrad.recipes.waiting import duration

_NAME = 26
_OFTEN = 60.0
_SOON = 10.0


def read_progress(path: Path) -> dict[str, Any]:
    """What a worker's ``ProgressFile`` says; empty where there is none yet.

    Example:
        >>> read_progress(Path("missing.json"))
        {}
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and found["steps"] >= found["step"] >= 0 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


class RunsDisplay:
    """Draws on ``console`` while it is entered as a context; silent without one.

    Args:
        console: where to draw.
        runs: how many there are to do.
        total: how many the study has.

    Example:
        >>> with RunsDisplay(None, runs=2, total=2) as display:
        ...     display.show({"csba seed 0": {"step": 1, "steps": 4, "epoch": 1, "loss": 0.5}})
        >>> display.share_done
        0.125
    """

    def __init__(self, console: Console | None, runs: int, total: int) -> None:
        self.console, self.runs, self.total = console, runs, total
        self.share_done, self.finished = 0.0, total - runs
        self._began = self._said = time.monotonic()
        self._wait = _SOON
        self._bars: dict[str, TaskID] = {}
        self._progress = _drawing(console)

    def __enter__(self) -> "RunsDisplay":
        if self._progress is not None:
            self._progress.start()
            self._all = self._progress.add_task(self._count(), total=1.0, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line above the bars."""
        if self.console is not None:
            self.console.print(Text(text), highlight=False)

    def over(self, run: str, text: str) -> None:
        """A run has come to its end, this way or that: say so in one line."""
        self.finished += 1
        self.say(f"{text} ({self.finished} of {self.total})")
        if self._progress is not None and run in self._bars:
            self._progress.remove_task(self._bars.pop(run))

    def show(self, running: dict[str, dict[str, Any]]) -> None:
        """Draw where the runs at work stand; off a terminal, say it now and then.

        Args:
            running: what ``read_progress`` gave, by the name of the run.
        """
        parts = sum(found["step"] / max(1, found["steps"]) for found in running.values() if found)
        self.share_done = (self.finished - (self.total - self.runs) + parts) / self.runs
        if self._progress is not None:
            self._draw(self._progress, running)
        elif time.monotonic() - self._said >= self._wait:
            self._said, self._wait = time.monotonic(), _OFTEN
            self.say("; ".join([f"{self._count()}{self._left()}", *_notes(running)]))

    def _draw(self, progress: Progress, running: dict[str, dict[str, Any]]) -> None:
        for run in set(self._bars) - set(running):
            progress.remove_task(self._bars.pop(run))
        for run, found in running.items():
            if run not in self._bars:
                self._bars[run] = progress.add_task(_short(run), total=1.0, note="")
            part = found["step"] / max(1, found["steps"]) if found else 0.0
            progress.update(self._bars[run], completed=part, note=_note(found))
        progress.update(
            self._all, completed=self.share_done, description=self._count(), note=self._left().lstrip(", ")
        )

    def _count(self) -> str:
        return f"{self.finished} of {self.total} runs over"

    def _left(self) -> str:
        """How long the rest will take, at the speed so far."""
        if self.share_done < 0.02:
            return ""
        seconds = (time.monotonic() - self._began) * (1 - self.share_done) / self.share_done
        return f", about {duration(seconds)} left"


def _drawing(console: Console | None) -> Progress | None:
    if console is None or not console.is_terminal:
        return None
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
    )


def _notes(running: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{run} {_note(found)}" for run, found in running.items()]


def _note(found: dict[str, Any]) -> str:
    if not found:
        return "starting"
    loss = "" if found.get("loss") is None else f" loss {found['loss']:.3f}"
    score = "" if found.get("macro_f1") is None else f" macro-F1 {found['macro_f1']:.3f}"
    return f"epoch {found['epoch']}{loss}{score}"


def _short(run: str) -> str:
    """The end tells the runs of a method apart."""
    return run if len(run) <= _NAME else f"{run[: _NAME - 13]}...{run[-10:]}"
