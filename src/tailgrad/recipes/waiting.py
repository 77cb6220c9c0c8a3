"""How far a piece of work with countable parts is, for whoever waits for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from tailgrad.types import Batch

Say = Callable[[str], None]
"""Told in words what is decided."""
Told = Callable[[int, int], None]
"""Told how many parts of how many are done."""
_FIRST, _LATER = 10.0, 60.0


@contextmanager
def counting(console: Console | None, title: str) -> Iterator[Told]:
    """A function to be told (done, total): a bar with the time left, off a terminal a line now and then.

    The bar appears with the first news and leaves nothing behind.

    Args:
        console: where to draw; None is silent.
        title: what is done.

    Example:
        >>> with counting(None, "reading") as progress:
        ...     progress(1, 2)
    """
    if console is None:
        yield _nobody
    elif not console.is_terminal:
        yield _Lines(console, title)
    else:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None))
        with Progress(
            *columns, MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True
        ) as bars:
            task = bars.add_task(title, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)


def counted(say: Say, title: str) -> AbstractContextManager[Told]:
    """Shows how far a piece of work is where somebody listens on a console.

    Example:
        >>> with counted(silent, "reading") as progress:
        ...     progress(1, 2)
    """
    return counting(getattr(say, "console", None), title)


def silent(_: str) -> None:
    """Say nothing.

    Example:
        >>> silent("anything")
    """


class Batches(Protocol):
    """Batches whose number is known: a loader, or a list."""

    def __iter__(self) -> Iterator["Batch"]:
        """Batches."""

    def __len__(self) -> int:
        """Their number."""


def each(batches: Batches, told: Told) -> Iterator["Batch"]:
    """Batches one after the other, each told of once it is done with.

    Example:
        >>> list(each([], print))
        []
    """
    for done, batch in enumerate(batches, start=1):
        yield batch
        told(done, len(batches))


def _nobody(_done: int, _total: int) -> None:
    """Nobody listens."""


class _Lines:
    """A line after ten seconds, then one a minute."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self._began = self._said = time.monotonic()
        self._wait = _FIRST

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not 0 < done < total or now - self._said < self._wait:
            return
        self._said, self._wait = now, _LATER
        left = (now - self._began) * (total - done) / done
        self.console.print(
            Text(f"{self.title}: {done} of {total}, about {duration(left)} left"), highlight=False
        )


def duration(seconds: float) -> str:
    """A duration in words, rounded as one would say it.

    Example:
        >>> duration(42), duration(200), duration(9000)
        ('42 s', '3 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
