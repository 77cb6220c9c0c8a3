"""A 63-bit perceptual hash, and all pairs of hashes that differ in few bits."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

_BLOCK = 2**24
"""Hash comparisons held in memory at a time (64 MiB)."""


def perceptual_hash(thumbnails: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Hash of the coarse structure of grey images: which low frequencies are above their median.

    bit_k = [D_k > median(D)], D the 8 x 8 lowest coefficients of the orthonormal 2-D cosine transform
    without the constant one. Brightness does not enter, and contrast cancels.

    Args:
        thumbnails: grey images [N, S, S], S at least 8.

    Returns:
        Bits [N, 63]; unrelated images differ in about 32 of them.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), section
    3.2.1, without its 7 x 7 mean filter; the constant coefficient is left out and not merely ignored.

    Example:
        >>> image = np.random.default_rng(0).normal(100, 20, (1, 32, 32)).astype(np.float32)
        >>> bits = perceptual_hash(np.concatenate([image, 3 * image + 20]))
        >>> bits.shape, int((bits[0] != bits[1]).sum())
        ((2, 63), 0)
    """
    low = dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(thumbnails), 64)[:, 1:]
    return np.asarray(low > np.median(low, axis=1, keepdims=True))


def close_pairs(bits: NDArray[np.bool_], distance: int) -> Iterator[NDArray[np.int64]]:
    """Pairs (i, j), i < j, of hashes that differ in at most ``distance`` bits, in blocks, in order.

    With bits as -1 and 1, x . y = B - 2 * distance(x, y), so one matrix product compares a block with all.

    Args:
        bits: hashes [N, B].
        distance: 0 ... B.

    Yields:
        Pairs [M, 2].

    Example:
        >>> bits = np.array([[1, 1, 1], [0, 0, 0], [1, 1, 0]], dtype=bool)
        >>> np.concatenate(list(close_pairs(bits, 1))).tolist()
        [[0, 2]]
    """
    signs = np.where(bits, np.float32(1), np.float32(-1))
    n, width = signs.shape
    rows = max(1, _BLOCK // max(n, 1))
    for start in range(0, n, rows):
        agreement = signs[start : start + rows] @ signs[start:].T
        i, j = np.nonzero(agreement > width - 2 * distance - 1)
        above = j > i
        yield np.stack([i[above], j[above]], axis=1) + start
