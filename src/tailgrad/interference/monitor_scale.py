"""The factor by which mixed precision multiplies the loss."""

from collections.abc import Callable
from typing import Protocol

from tailgrad.checks import InputError


class Scaler(Protocol):
    """What multiplies the loss: ``torch.amp.GradScaler``.

    Example: see ``Monitor``.
    """

    def get_scale(self) -> float:
        """The present factor."""


def scale_of(scaler: Scaler | Callable[[], float] | None) -> Callable[[], float]:
    """A function that gives the present factor; 1 without a scaler.

    Args:
        scaler: a GradScaler, a function, or None.

    Raises:
        InputError: it is something else.

    Example:
        >>> scale_of(None)()
        1.0
    """
    if scaler is None:
        return lambda: 1.0
    found = getattr(scaler, "get_scale", scaler)
    if not callable(found):
        raise InputError(
            f"scaler must be a GradScaler or a function that gives the factor, got {scaler!r}; pass it"
        )
    return found
