"""Checks of the arguments that heads share."""

from numbers import Integral

from tailgrad.checks import InputError, in_range


def whole_size(argument: str, value: int, least: int = 1) -> int:
    """Return ``value`` if it is a whole number of at least ``least``.

    Raises:
        InputError: it is not.

    Example:
        >>> whole_size("reduction", 2.5)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: reduction must be a whole number, got 2.5; round it
    """
    in_range(argument, value, least)
    number: object = value
    if not isinstance(number, Integral):
        raise InputError(f"{argument} must be a whole number, got {value}; round it")
    return int(value)


def check_sizes(channels: int, num_classes: int, *, branches: int = 1, dropout: float = 0.0) -> None:
    """Make sure that a head's sizes make sense.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        branches: B, at least 1.
        dropout: probability, 0 to 0.99.

    Raises:
        InputError: one is outside its range.

    Example:
        >>> check_sizes(16, 1)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: num_classes must be in [2, inf], got 1; choose a value inside
    """
    whole_size("channels", channels)
    whole_size("num_classes", num_classes, 2)
    whole_size("branches", branches)
    in_range("dropout", dropout, 0, 0.99)
