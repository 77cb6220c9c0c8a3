"""The class-balanced control: the same measurement with the same number of examples of every class."""

from dataclasses import dataclass

from tailgrad.interference.gram import Array


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The same measurement with as many examples of every class as the rarest has.

    Args:
        examples: of each class.
        conflict: cosines [K, K].
        null: [K, K].
        disattenuated: without sampling noise [K, K], or None.
        interval: its 90 % interval [2, K, K], or None.

    Example:
        >>> import numpy as np
        >>> Control(5, np.eye(2), np.eye(2)).examples
        5
    """

    examples: int
    conflict: Array
    null: Array
    disattenuated: Array | None = None
    interval: Array | None = None
