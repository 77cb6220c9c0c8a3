"""How far an analysis is, for whoever waits for it."""

import time
from collections.abc import Callable

from tailgrad.recipes.waiting import duration


class CellProgress:
    """Says ``cell 12 of 60, about 3 min left`` when a cell is begun, but not too often.

    Where nobody said how many there are, the time so far stands in place of the time left. What is left is
    the mean time of the cells made in this sitting, times the number that is missing.

    Args:
        title: what the line begins with.
        say: takes a line.
        every: least seconds between two lines.
        clock: seconds, from any moment on.

    Example:
        >>> progress = CellProgress("mine", print, clock=lambda: 0.0)
        >>> progress.expected = 3
        >>> progress.begin("one")
        mine: cell 1 of 3
    """

    def __init__(
        self,
        title: str,
        say: Callable[[str], None],
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.say, self.every, self.clock = title, say, every, clock
        self.expected: int | None = None
        self._seen: set[str] = set()
        self._made, self._began, self._taken = 0, 0.0, 0.0
        self._said: float | None = None

    def passed(self, name: str) -> None:
        """A cell is there already; asking for it again counts no more."""
        self._seen.add(name)

    def begin(self, name: str) -> None:
        """A cell is begun."""
        self._began = self.clock()
        place = len(self._seen | {name})
        if self._said is None or self._began - self._said >= self.every:
            self._said = self._began
            self.say(f"{self.title}: {self._line(place)}")

    def end(self, name: str) -> None:
        """It is made."""
        self._seen.add(name)
        self._made += 1
        self._taken += self.clock() - self._began

    def _line(self, place: int) -> str:
        if self.expected is None:
            return f"cell {place}" + (f", {duration(self._taken)} so far" if self._made else "")
        line = f"cell {place} of {max(self.expected, place)}"
        if not self._made:
            return line
        left = max(self.expected - place + 1, 1) * self._taken / self._made
        return f"{line}, about {duration(left)} left"
