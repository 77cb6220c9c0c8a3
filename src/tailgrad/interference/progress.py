"""How far a measurement is, for whoever waits."""

from collections.abc import Callable

from tailgrad.interference.observer import Observer, Seen
from tailgrad.interference.trees import length

Tell = Callable[[str, int, int | None], None]
"""``tell(part, done, of)``: ``"examples"`` read, of a number not known (None), or ``"null"`` gradients."""


def silent(_part: str, _done: int, _of: int | None) -> None:
    """Nobody waits.

    Example:
        >>> silent("null", 3, 10)
    """


def counting(tell: Tell) -> Observer:
    """An observer of the pass over the data that tells how many examples have been seen.

    Example:
        >>> import torch
        >>> count = counting(print)
        >>> count(Seen(0, torch.zeros(2, 3), None)), count(Seen(1, torch.zeros(1, 3), None))
        examples 2 None
        examples 3 None
        (None, None)
    """
    done = 0

    def count(seen: Seen) -> None:
        nonlocal done
        done += length(seen.inputs)
        tell("examples", done, None)

    return count
