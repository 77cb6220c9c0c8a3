"""Checked logits and targets of several labels an image."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.evaluate.confusion import Floats, Values, as_numpy, refuse_outside


def checked_labels(
    logits: Values, target: Values, labels: int | None = None
) -> tuple[Floats, NDArray[np.uint8]]:
    """Logits in double precision and targets of zeros and ones, once they belong together.

    Args:
        logits: [N, L], N at least 1.
        target: [N, L].
        labels: L wanted, or None for any.

    Raises:
        InputError: a shape or a value does not fit; the first bad value is named.

    Example:
        >>> checked_labels([[0.0, 1.0]], [[1, 0]])[1].dtype
        dtype('uint8')
    """
    z, y = as_numpy(logits).astype(np.float64), as_numpy(target)
    if z.ndim != 2 or not len(z) or y.shape != z.shape or labels not in (None, z.shape[1]):
        wanted = "L" if labels is None else labels
        raise InputError(
            f"logits and target must be [N, {wanted}] with N at least 1, got {list(z.shape)} and "
            f"{list(y.shape)}; give one row an image and one column a label"
        )
    refuse_outside(z, np.isfinite(z), "logits", "finite numbers")
    refuse_outside(y, (y == 0) | (y == 1), "target", "zeros and ones")
    return z, y.astype(np.uint8)
