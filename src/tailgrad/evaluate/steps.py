"""Figures without the rounding of their last bits, so that equal ones are equal."""

import numpy as np

from tailgrad.evaluate.confusion import Floats

_STEP = 1e-12


def in_steps(values: Floats, largest: float) -> Floats:
    """Values as whole numbers of steps of 1e-12 of ``largest``.

    Means and differences of equal figures differ in their last bit, which would rank them and count a win.

    Args:
        values: of any shape, finite.
        largest: the size of the figures they are made of, at least 0.

    Example:
        >>> in_steps(np.array([0.85, (0.9 + 0.8) / 2]), 1).tolist(), (0.9 + 0.8) / 2 == 0.85
        ([850000000000.0, 850000000000.0], False)
    """
    step = _STEP * largest
    return np.rint(values / step) if step else values
