"""Which operations can be drawn, and how strong they are."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from tailgrad.augment.grouped import by_group
from tailgrad.augment.operations import OPERATIONS
from tailgrad.checks import InputError


class OperationSpace(NamedTuple):
    """O operations with B magnitudes each.

    Args:
        names: O names of ``OPERATIONS``.
        magnitude: [O, B] float64; 0 where an operation has none.
        signed: [O] bool; whether the magnitude is negated with probability 1/2.

    Example:
        >>> operation_space("RandAugment", 31, 32, 32).names[:2]
        ('Identity', 'ShearX')
    """

    names: tuple[str, ...]
    magnitude: Tensor
    signed: Tensor

    def apply(self, images: Tensor, operation: Tensor, step: Tensor) -> Tensor:
        """Change each image by its own operation, with a random sign where there is one.

        Args:
            images: uint8 [N, 3, H, W]; overwritten.
            operation: [N] on the CPU, index into ``names``; negative for none.
            step: [N] on the CPU, which of the B magnitudes.

        Example:
            >>> space = operation_space("AutoAugment", 10, 1, 1)
            >>> black = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
            >>> space.apply(black, torch.tensor([space.names.index("Invert")]), torch.tensor([0])).sum()
            tensor(765)
        """
        magnitude = self.magnitude[operation, step]
        negative = self.signed[operation] & (torch.rand(len(images)) < 0.5)
        magnitude = torch.where(negative, -magnitude, magnitude)
        return by_group(images, operation, magnitude, [OPERATIONS[name] for name in self.names])


@lru_cache(maxsize=32)
def operation_space(transform: str, bins: int, height: int, width: int) -> OperationSpace:
    """The space of a torchvision transform, read from torchvision.

    Args:
        transform: "AutoAugment", "RandAugment" or "TrivialAugmentWide".
        bins: number of magnitudes, at least 2.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Example:
        >>> space = operation_space("TrivialAugmentWide", 31, 32, 32)
        >>> space.magnitude[space.names.index("Rotate"), -1].item()
        135.0
    """
    from torchvision.transforms import v2

    table = getattr(v2, transform)._AUGMENTATION_SPACE
    rows = [make(bins, height, width) for make, _ in table.values()]
    filled = [torch.zeros(bins) if row is None else row for row in rows]
    magnitude = torch.stack([row.double() for row in filled])
    return OperationSpace(tuple(table), magnitude, torch.tensor([signed for _, signed in table.values()]))


def check_bytes(images: Tensor) -> None:
    """Make sure that images are uint8 [N, 3, H, W].

    Raises:
        InputError: they are not.

    Example:
        >>> check_bytes(torch.zeros(1, 3, 2, 2))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: images must be uint8 [N, 3, H, W], got torch.float32 [1, 3, 2, 2]; ...
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise InputError(
            f"images must be uint8 [N, 3, H, W], got {images.dtype} {list(images.shape)}; "
            "apply this transform before Normalize"
        )
