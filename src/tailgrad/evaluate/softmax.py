"""Probabilities of logits, checked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.evaluate.confusion import Floats, Values, checked_shape, refuse_outside


def softmax(logits: Values, num_classes: int | None = None) -> Floats:
    """``exp(z_k) / sum_j exp(z_j)`` in double precision.

    Args:
        logits: [N, K], finite.
        num_classes: K wanted, or None for any.

    Raises:
        InputError: a bad shape, or logits that are not finite.

    Example:
        >>> softmax([[0.0, 0.0]]).tolist()
        [[0.5, 0.5]]
    """
    found: NDArray[Any] = checked_shape(logits, num_classes)
    refuse_outside(found, np.isfinite(found), "logits", "finite numbers")
    z = found.astype(np.float64)
    z -= z.max(1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(1, keepdims=True)
    return z
