"""Arguments that count something."""

from numbers import Integral

from tailgrad.checks import InputError


def whole(argument: str, value: int, least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``least``.

    Raises:
        InputError: it is not.

    Example:
        >>> whole("epochs", 0, 1)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: epochs must be a whole number of at least 1, got 0; choose a larger one
    """
    number: object = value
    if type(number) is bool or not isinstance(number, Integral):
        raise InputError(f"{argument} must be a whole number, got {value!r}; give one")
    if value < least:
        raise InputError(
            f"{argument} must be a whole number of at least {least}, got {value}; choose a larger one"
        )
    return int(value)
