"""A matrix of cosines as a picture."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SIDE = 512
"""Side of the picture in pixels, about: a cell gets a whole number of them."""

_BLUE, _WHITE, _RED = np.array([[5, 113, 176], [247, 247, 247], [202, 0, 32]], dtype=np.float64)
_GREY = (200, 200, 200)


def heat_image(matrix: NDArray[np.floating]) -> Pixels:
    """Red where two classes oppose each other, blue where they agree, white at 0, grey where not known.

    More classes than pixels are averaged in blocks.

    Args:
        matrix: [K, K] within [-1, 1]; NaN where there is no figure.

    Returns:
        Pixels [S, S, 3], uint8, S near ``SIDE``.

    Example:
        >>> heat_image(np.array([[1.0, -1.0], [-1.0, 1.0]]))[0, [0, -1]].tolist()
        [[5, 113, 176], [202, 0, 32]]
    """
    cells = _averaged(np.asarray(matrix, dtype=np.float64))
    known = np.isfinite(cells)
    value = np.clip(np.where(known, cells, 0.0), -1.0, 1.0)[..., None]
    colour = np.where(value < 0, _WHITE + value * (_WHITE - _RED), _WHITE + value * (_BLUE - _WHITE))
    pixels = np.where(known[..., None], colour.round(), _GREY).astype(np.uint8)
    scale = max(1, SIDE // len(pixels))
    return pixels.repeat(scale, 0).repeat(scale, 1)


def _averaged(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over blocks of known values, so that at most ``SIDE`` cells a side are left."""
    block = -(-len(matrix) // SIDE)
    if block == 1:
        return matrix
    starts = np.arange(0, len(matrix), block)
    known = np.isfinite(matrix)

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(values, starts, 0), starts, 1)
        return rows

    counts = summed(known.astype(np.float64))
    with np.errstate(invalid="ignore"):
        return summed(np.where(known, matrix, 0.0)) / counts
