"""Images that could not be read while training, said at the end of the epoch in which they came up."""

from typing import Any

from tailgrad.data.reading import PassedOver
from tailgrad.recipes.talk import Talk


class UnreadableLog:
    """An observer that says how many images were passed over, and remembers them over a break.

    Args:
        passed_over: what the loaders of the run pass over.
        say: who listens.

    Example:
        >>> log = UnreadableLog(PassedOver(), Talk(None))
        >>> log.passed_over.add("cats/1.jpg", "empty file")
        >>> log.state()
        {'cats/1.jpg': 'empty file'}
    """

    def __init__(self, passed_over: PassedOver, say: Talk) -> None:
        self.passed_over, self.say = passed_over, say
        self._said = 0

    def on_step(self, record: Any) -> None:
        """Nothing is said within an epoch."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """Say what has come up since it was said last."""
        if len(self.passed_over) > self._said:
            self._said = len(self.passed_over)
            self.say(f"warning: passed over by the end of epoch {row['epoch']}: {self.passed_over}")

    def state(self) -> dict[str, str]:
        """Name and reason of each image."""
        return dict(self.passed_over.reasons)

    def load_state(self, state: dict[str, str]) -> None:
        """Go on counting where a sitting before left off."""
        for name, reason in state.items():
            self.passed_over.add(name, reason)
        self._said = len(self.passed_over)
