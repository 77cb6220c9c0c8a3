"""When a measurement is due."""

import time

from tailgrad.checks import InputError, in_range


class Due:
    """Every n steps, or every s seconds; the first step always.

    Args:
        every: steps between two measurements, at least 1.
        seconds: seconds between two measurements, above 0, in place of steps.

    Raises:
        InputError: one of them is out of range.

    Example:
        >>> due = Due(every=2)
        >>> due.done(0)
        >>> due.now(1), due.now(2)
        (False, True)
    """

    def __init__(self, every: int = 20, seconds: float | None = None) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise InputError(
                f"every must be a whole number of steps, at least 1, got {every!r}; 20 costs little"
            )
        if seconds is not None:
            in_range("seconds", seconds, 0, exclusive=True)
        self.every, self.seconds = every, seconds
        self.step, self._time = 0, 0.0

    def now(self, step: int) -> bool:
        """Whether to measure at this step; a step that was due and gave nothing leaves the next one due."""
        return step >= self.step if self.seconds is None else time.monotonic() >= self._time

    def done(self, step: int) -> None:
        """A measurement was made at this step."""
        self.step = step + self.every
        if self.seconds is not None:
            self._time = time.monotonic() + self.seconds
