"""One image brought to the size that a network takes."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize(pixels: NDArray[np.uint8], size: tuple[int, int], mode: str = "squash") -> NDArray[np.uint8]:
    """One image [h, w, 3] brought to [H, W, 3]; modes as ``load_images``.

    Example:
        >>> resize(np.zeros((40, 24, 3), np.uint8), (80, 48)).shape
        (80, 48, 3)
    """
    height, width, _ = pixels.shape
    if (height, width) == size:
        return pixels
    scale = min(height / size[0], width / size[1])
    part = (height, width)
    if mode == "crop":  # 224 * (116 / 224) is above 116, by a rounding error
        part = (min(height, size[0] * scale), min(width, size[1] * scale))
    top, left = (height - part[0]) / 2, (width - part[1]) / 2
    box = (left, top, left + part[1], top + part[0])
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, box=box))
