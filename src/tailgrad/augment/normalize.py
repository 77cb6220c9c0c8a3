"""From stored bytes to the numbers a network sees."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.checks import InputError


class Normalize:
    """``(x / 255 - mean) / std`` per channel, for uint8 batches.

    Args:
        mean: channel means in [0, 1].
        std: channel standard deviations, each positive.

    Raises:
        InputError: the lengths differ, or a deviation is not positive.

    Example:
        >>> import torch
        >>> Normalize([0.5], [0.5])(torch.tensor([[[[255, 0]]]], dtype=torch.uint8))
        tensor([[[[ 1., -1.]]]])
    """

    kind: ClassVar[str] = "transform"

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std):
            raise InputError(f"mean and std must be equally long, got {len(mean)} and {len(std)} channels")
        for c, s in enumerate(std):
            if not s > 0:
                raise InputError(f"std must be positive, got std[{c}]={s}; a constant channel takes std 1")
        self.mean, self.std = tuple(mean), tuple(std)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a uint8 batch [N, C, H, W] to float32."""
        mean = torch.tensor(self.mean, device=images.device)[:, None, None] * 255
        std = torch.tensor(self.std, device=images.device)[:, None, None] * 255
        return (images.float() - mean) / std

    @classmethod
    def of(cls, images: Tensor, most: int = 4096) -> "Normalize":
        """Mean and deviation per channel of the first ``most`` of uint8 images [N, C, H, W].

        Example:
            >>> import torch
            >>> Normalize.of(torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)).mean
            (0.2,)
        """
        values = images[:: max(1, len(images) // most)].double() / 255
        mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3), correction=0)
        return cls([round(m, 6) for m in mean.tolist()], [round(s, 6) or 1.0 for s in std.tolist()])
