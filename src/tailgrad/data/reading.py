"""How images are read while training, and which of them could not be."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tailgrad.checks import in_range, one_of

_NAMED = 20


class PassedOver:
    """Images that could not be read and were passed over, each counted once.

    Example:
        >>> passed_over = PassedOver()
        >>> passed_over.add("cats/1.jpg", "empty file")
        >>> passed_over.add("cats/1.jpg", "empty file")
        >>> passed_over.to_dict()
        {'count': 1, 'names': ['cats/1.jpg']}
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, name: str, reason: str) -> None:
        """Note an image and what is wrong with it."""
        self.reasons.setdefault(name, reason)

    def to_dict(self) -> dict[str, Any]:
        """Their number and the names of the first 20."""
        return {"count": len(self), "names": list(self.reasons)[:_NAMED]}

    def __str__(self) -> str:
        some = "; ".join(f"{name!r}: {reason}" for name, reason in list(self.reasons.items())[:5])
        more = f"; and {len(self) - 5} more" if len(self) > 5 else ""
        return f"{len(self)} {'image' if len(self) == 1 else 'images'} that cannot be read ({some}{more})"


@dataclass(frozen=True)
class Reading:
    """How a streaming loader reads.

    Args:
        workers: decoding processes; 0 decodes in this one.
        prefetch: batches that each of them works ahead, at least 1.
        pin: put batches where a GPU can fetch them without waiting; for CUDA only.
        on_unreadable: ``stop`` at an image that cannot be read, or ``skip`` it.
        passed_over: where skipped images are noted.

    Raises:
        InputError: a negative number of workers, no batch ahead, an unknown ``on_unreadable``.

    Example:
        >>> Reading(workers=2).prefetch
        2
    """

    workers: int = 0
    prefetch: int = 2
    pin: bool = False
    on_unreadable: Literal["stop", "skip"] = "stop"
    passed_over: PassedOver = field(default_factory=PassedOver)

    def __post_init__(self) -> None:
        in_range("workers", self.workers, 0)
        in_range("prefetch", self.prefetch, 1)
        one_of("on_unreadable", self.on_unreadable, ("stop", "skip"))
