"""What a run tells the person who waits for it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from tailgrad.engine.observers import Observer
from tailgrad.engine.progress import ProgressBar, ProgressLines
from tailgrad.recipes.waiting import Told, counting, duration

__all__ = ["Listener", "Talk", "duration"]
Listener = Console | Literal["stderr"] | None
"""Who hears what happens: a console, standard error, or nobody."""


class Talk:
    """Lines and progress bars on a console; silent without one.

    Args:
        console: where to write; "stderr" is standard error.

    Example:
        >>> Talk(None)("nobody hears this")
    """

    def __init__(self, console: Listener) -> None:
        # In a notebook too lines are lines: rich would make a picture of each.
        plain = Console(stderr=True, soft_wrap=True, force_jupyter=False) if console == "stderr" else None
        self.console = plain if console == "stderr" else console
        self.runs_left = 1
        self.work_left: float | None = None
        self.is_study = False
        self._warned: set[str] = set()
        self._draws = False

    def __call__(self, text: str) -> None:
        """Say one line."""
        if self.console is not None:
            self.console.print(Text(text), highlight=False)

    @contextmanager
    def progress(self, steps: int, title: str) -> Iterator[list[Observer]]:
        """Observers that draw a bar, or off a terminal say a line a minute; none without a console."""
        if self.console is None:
            yield []
            return
        if not self.console.is_terminal:
            yield [ProgressLines(steps, self)]
            return
        self._draws = True
        try:
            with ProgressBar(steps, title, self.console) as bar:
                yield [bar]
        finally:
            self._draws = False

    def counting(self, title: str) -> AbstractContextManager[Told]:
        """A function to be told (done, total) of work with countable parts; under a bar it is silent."""
        return counting(None if self._draws else self.console, title)

    def warn_of(self, call: Callable[[], Any]) -> Any:
        """The result of ``call``; its warnings are said as lines where somebody listens."""
        if self.console is None:
            return call()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = call()
        for text in dict.fromkeys(f"warning: {warning.message}" for warning in caught):
            if text not in self._warned:
                self(text)
        self._warned |= {f"warning: {warning.message}" for warning in caught}
        return result
