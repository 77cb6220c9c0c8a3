"""Images that are already in Python, or made there by a dataset."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tailgrad.data.decode import UnreadableImage, to_rgb


def as_array(values: Any) -> NDArray[Any]:
    """A list, an array, or a tensor on any device, as an array.

    Example:
        >>> as_array([1, 2]).shape
        (2,)
    """
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)  # NumPy has none


def to_pixels(image: Any, name: str) -> NDArray[np.uint8]:
    """One image as pixels, uint8 [H, W, 3].

    Args:
        image: a Pillow image, or an array or tensor [H, W], [H, W, 1 or 3] or [1 or 3, H, W], uint8 or
            floating point in [0, 1].
        name: what to call the image in an error.

    Raises:
        UnreadableImage: another shape or type, or values outside [0, 1].

    Example:
        >>> to_pixels(np.array([[0.0, 1.0]]), "row 0").tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    if isinstance(image, Image.Image):
        return _from_pillow(image, name)
    pixels = _bytes(as_array(image), name)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0:
        raise UnreadableImage(name, f"shape {np.shape(image)} where [H, W], [H, W, 3] or [3, H, W] is wanted")
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")


def _from_pillow(image: Image.Image, name: str) -> NDArray[np.uint8]:
    try:
        return to_rgb(image)
    except (OSError, ValueError) as error:
        raise UnreadableImage(name, str(error)) from error


def _bytes(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise UnreadableImage(name, f"type {pixels.dtype} where uint8 or floating point in [0, 1] is wanted")
    if not (pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 1):  # written so that NaN fails
        low, high = pixels.min(), pixels.max()
        raise UnreadableImage(
            name, f"values {low:g} ... {high:g} where [0, 1] is wanted (undo normalisation)"
        )
    return np.round(pixels * 255).astype(np.uint8)


class Pictures:
    """The items of a source whose images are in memory or made by a dataset.

    Args:
        images: any sequence whose entries ``to_pixels`` takes.

    Example:
        >>> Pictures(np.zeros((2, 4, 5), np.uint8)).size(1)
        (4, 5)
    """

    def __init__(self, images: Any) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def load(self, i: int) -> NDArray[np.uint8]:
        """Image i, uint8 [H, W, 3]."""
        return to_pixels(self._images[i], self.name(i))

    def name(self, i: int) -> str:
        """``row i``."""
        return f"row {i}"

    def stored(self, i: int) -> bytes:
        """Shape and pixels, so that the same picture has the same bytes whatever array held it."""
        pixels = self.load(i)
        return str(pixels.shape).encode() + pixels.tobytes()

    def format(self, i: int) -> str:  # noqa: ARG002 - all are the same
        """``array``."""
        return "array"

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of image i."""
        height, width, _ = self.load(i).shape
        return height, width
