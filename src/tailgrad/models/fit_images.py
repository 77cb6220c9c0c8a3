"""Bring images to a size that a backbone can use."""

import math

from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.types import TableInputs

SMALLEST_SIDE = 32


def fitted_size(size: tuple[int, int], input_size: tuple[int, int] | None = None) -> tuple[int, int]:
    """The (height, width) that ``fit_images`` gives images of ``size``.

    Example:
        >>> fitted_size((8, 8)), fitted_size((24, 40)), fitted_size((32, 200))
        ((32, 32), (48, 80), (32, 200))
    """
    if input_size is not None:
        return input_size
    factor = math.ceil(SMALLEST_SIDE / min(size))
    return (size[0] * factor, size[1] * factor) if factor > 1 else size


def fit_images(images: Tensor | TableInputs, input_size: tuple[int, int] | None = None) -> Tensor:
    """Enlarge images under 32 pixels on a side by a whole factor, or resize them to a fixed ``input_size``.

    Bilinear, antialiased where a side shrinks. Images that fit already are returned as they are.

    Args:
        images: [N, 3, H, W], floating point.
        input_size: the one (height, width) that the backbone accepts, or None.

    Raises:
        InputError: the images have another shape or type.

    Example:
        >>> import torch
        >>> fit_images(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 32, 32])
    """
    if isinstance(images, TableInputs):
        raise InputError(
            "images must be floating point [N, 3, H, W], got rows of a table; "
            "use a backbone for tables, such as mlp"
        )
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape) < 1 or not images.is_floating_point():
        raise InputError(
            f"images must be floating point [N, 3, H, W], got {images.dtype} {list(images.shape)}; "
            "repeat a grey channel three times and scale bytes to [0, 1]"
        )
    size = (images.shape[2], images.shape[3])
    target = fitted_size(size, input_size)
    if target == size:
        return images
    shrinks = target[0] < size[0] or target[1] < size[1]
    return F.interpolate(images, target, mode="bilinear", antialias=shrinks)
