"""Small copies of images as ``data:`` addresses, which a page holds in itself."""

import io
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 112
"""Longest side of an embedded copy, in pixels."""
_WHOLE = 48  # images up to this side stay as they are


def data_address(pixels: NDArray[np.uint8]) -> str:
    """A copy of at most 112 pixels a side: PNG where the image is tiny, else JPEG without its metadata.

    Args:
        pixels: uint8 [H, W, 3].

    Example:
        >>> data_address(np.zeros((8, 8, 3), np.uint8)).split(",")[0]
        'data:image/png;base64'
    """
    image = Image.fromarray(pixels)
    held = io.BytesIO()
    if max(image.size) <= _WHOLE:
        image.save(held, "PNG", optimize=True)
        return f"data:image/png;base64,{b64encode(held.getvalue()).decode()}"
    image.thumbnail((SIDE, SIDE))
    image.save(held, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(held.getvalue()).decode()}"
