"""One answer to one question about a printed table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CONSISTENT = "consistent"
IMPOSSIBLE = "impossible"
UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, the numbers behind it, and a sentence.

    Args:
        check: the question in one or two words, as in ``accuracy``.
        verdict: ``consistent``, ``impossible`` or ``cannot be told``.
        sentence: what was found, for a reader.
        column: the column of the table that it is about, or "" for all of them.
        numbers: the figures in the sentence and more, plain values that JSON can hold.

    Example:
        >>> print(Finding("accuracy", IMPOSSIBLE, "It is 0.675 and must be 0.572.", "baseline"))
        impossible: baseline, accuracy: It is 0.675 and must be 0.572.
    """

    check: str
    verdict: str
    sentence: str
    column: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        what = f"{self.column}, {self.check}" if self.column else self.check
        return f"{self.verdict}: {what}: {self.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)
