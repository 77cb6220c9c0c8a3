"""How alike two small grey images are after one is shifted and stretched onto the other."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LIMIT = 0.15
"""Largest stretch, and largest shift as a share of the side, that an alignment may reach."""

_SIGMA, _FLOOR = 2.0, 2.0
"""Neighbourhood of local contrast in pixels, and the contrast in grey levels that counts as noise."""

Images = NDArray[np.float32]


class Similarity(NamedTuple):
    """What ``align`` found for M pairs.

    Args:
        correlation: Pearson correlation over the common area, [M], in -1 ... 1.
        warp: stretch minus 1 along x and y, and shift along x and y in pixels, [M, 4].
    """

    correlation: Images
    warp: Images


def align(a: Images, b: Images, *, steps: int = 6, start: Images | None = None) -> Similarity:
    """Shift and stretch b onto a for the largest correlation, by Gauss-Newton steps.

    Each step is the least-squares fit a ~ g * b_w + o + J d, with b_w the warped image, gain g and offset o
    (so brightness and contrast do not matter) and J its derivative in the four numbers of the warp; the
    best of all steps counts. Pixels that the warp takes from outside b are left out.

    Args:
        a: grey images [M, S, S].
        b: grey images [M, S, S].
        steps: at least 0; none compares in place.
        start: first warp [M, 4], or None for none.

    Returns:
        The correlation after alignment, and the warp. A constant image correlates with nothing.

    Source: forward-additive image alignment, Lucas and Kanade (1981), with the gain and offset of
    Evangelidis and Psarakis (2008), limited to stretches and shifts of 15 %.

    Example:
        >>> y, x = np.mgrid[:32, :32].astype(np.float32)
        >>> scene = lambda dx: (100 * np.sin((x + dx) / 4) * np.cos(y / 5))[None]
        >>> found = align(scene(0), scene(1.5))
        >>> float(found.correlation[0]) > 0.999, round(float(found.warp[0, 2]), 1)
        (True, -1.5)
    """
    a = a - a.mean((1, 2), keepdims=True)
    b = b - b.mean((1, 2), keepdims=True)
    warp = np.zeros((len(a), 4), np.float32) if start is None else start
    best, best_warp = np.full(len(a), -1, np.float32), warp.copy()
    for step in range(steps + 1):
        warped, inside = _warped(b, warp)
        found = _correlation(a, warped, inside)
        better = found > best
        best[better], best_warp[better] = found[better], warp[better]
        if step < steps:
            warp = _limited(warp + _improvement(a, warped, inside), a.shape[1])
    return Similarity(best, best_warp)


def local_correlation(a: Images, b: Images, warp: Images) -> Images:
    """Correlation after alignment of what is left when local brightness and contrast are divided out.

    r = correlation of u(a) and u(b_w), u(x) = (x - G x) / sqrt(G (x - G x)^2 + floor^2), G a Gaussian mean.
    One strong edge, such as a dark frame, decides the plain correlation; here every neighbourhood counts
    alike, unless its contrast is below the noise floor of 2 grey levels.

    Args:
        a: grey images [M, S, S].
        b: grey images [M, S, S].
        warp: of b onto a, [M, 4], from ``align``.

    Returns:
        [M], in -1 ... 1.

    Source: local normalisation as in Jarrett et al. (2009), section 2.1; the constants are ours.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 3, (2, 1, 32, 32)).astype(np.float32)
        >>> frame = np.zeros((32, 32), np.float32)
        >>> frame[:, :6] = 200
        >>> a, b = noise + frame
        >>> same = align(a, b, steps=0)
        >>> float(same.correlation[0]) > 0.99, abs(float(local_correlation(a, b, same.warp)[0])) < 0.7
        (True, True)
    """
    warped, inside = _warped(b, warp)
    return _correlation(_even_contrast(a), _even_contrast(warped), inside)


def halved(images: Images) -> Images:
    """Means of 2 x 2 pixels: [N, S, S] -> [N, S/2, S/2]; S even.

    Example:
        >>> halved(np.arange(4, dtype=np.float32).reshape(1, 2, 2)).tolist()
        [[[1.5]]]
    """
    n, side, _ = images.shape
    return np.asarray(images.reshape(n, side // 2, 2, side // 2, 2).mean((2, 4)))


def _warped(b: Images, warp: Images) -> tuple[Images, Images]:
    """Bilinear samples of b under the warp, and 1 where they lie inside b, both [M, S, S]."""
    side = b.shape[1]
    centred = _centred(side)
    x = (1 + warp[:, :1]) * centred + warp[:, 2:3] + (side - 1) / 2
    y = (1 + warp[:, 1:2]) * centred + warp[:, 3:] + (side - 1) / 2
    in_x, in_y = ((u >= 0) & (u <= side - 1) for u in (x, y))
    inside = (in_y[:, :, None] & in_x[:, None, :]).astype(np.float32)
    # The warp has no rotation, so sampling is one matrix for the rows and one for the columns.
    warped = np.asarray(_sampling(y) @ b @ _sampling(x).transpose(0, 2, 1), dtype=np.float32)
    return warped, inside


def _sampling(u: Images) -> Images:
    """Matrices [M, S, S] that interpolate linearly at the positions u [M, S]."""
    m, side = u.shape
    u = np.clip(u, 0, side - 1.001)
    below = np.floor(u).astype(np.int64)
    matrix = np.zeros((m, side, side), np.float32)
    row, column = np.arange(m)[:, None], np.arange(side)
    matrix[row, column, below] = 1 - (u - below)
    matrix[row, column, below + 1] = u - below
    return matrix


def _improvement(a: Images, warped: Images, inside: Images) -> Images:
    """The step of the warp [M, 4] that the least-squares fit asks for."""
    m, side, _ = a.shape
    dy, dx = np.gradient(warped, axis=(1, 2))
    r = _centred(side)
    columns = [warped, np.ones_like(warped), dx * r, dy * r[:, None], dx, dy]
    J = np.stack(columns, axis=-1).reshape(m, side * side, 6) * inside.reshape(m, side * side, 1)
    normal = (J.transpose(0, 2, 1) @ J).astype(np.float64) + 0.1 * np.eye(6)
    right = (J.transpose(0, 2, 1) @ (a * inside).reshape(m, side * side, 1)).astype(np.float64)
    fit = np.linalg.solve(normal, right)[:, :, 0]
    # Where the gain is near zero or negative the two images have nothing in common: stay.
    gain = np.where(fit[:, :1] > 0.1, fit[:, :1], np.inf)
    return np.asarray(fit[:, 2:] / gain, dtype=np.float32)


def _limited(warp: Images, side: int) -> Images:
    bound = np.array([_LIMIT, _LIMIT, _LIMIT * side, _LIMIT * side], np.float32)
    return np.clip(warp, -bound, bound)


def _centred(side: int) -> Images:
    return np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)


def _correlation(a: Images, b: Images, inside: Images) -> Images:
    area = inside.sum((1, 2), keepdims=True)
    a, b = ((x - (x * inside).sum((1, 2), keepdims=True) / area) * inside for x in (a, b))
    power = (a * a).sum((1, 2)) * (b * b).sum((1, 2))
    # The floor leaves real structure alone and turns 0 / 0 of constant images into 0.
    return np.asarray((a * b).sum((1, 2)) / np.sqrt(power + 1e-3), dtype=np.float32)


def _even_contrast(images: Images) -> Images:
    detail = images - _smooth(images)
    return np.asarray(detail / np.sqrt(_smooth(detail**2) + np.float32(_FLOOR**2)))


def _smooth(images: Images) -> Images:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images, (0, _SIGMA, _SIGMA)))
