"""Checks of the arguments that heads share."""

from tailgrad.checks import in_range


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
    in_range("channels", channels, 1)
    in_range("num_classes", num_classes, 2)
    in_range("branches", branches, 1)
    in_range("dropout", dropout, 0, 0.99)
