"""From stored bytes to the numbers a network sees."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.checks import InputError

_CHUNK = 64


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
        self._there: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a uint8 batch [N, C, H, W] to float32."""
        if images.device not in self._there:  # copied once, not at every batch
            columns = (torch.tensor(values)[:, None, None] * 255 for values in (self.mean, self.std))
            mean, std = (column.to(images.device) for column in columns)
            self._there[images.device] = mean, std
        mean, std = self._there[images.device]
        return images.float().sub_(mean).div_(std)

    @classmethod
    def of(cls, images: Tensor, most: int = 4096) -> "Normalize":
        """Mean and deviation per channel of the first ``most`` of uint8 images [N, C, H, W].

        Example:
            >>> import torch
            >>> Normalize.of(torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)).mean
            (0.2,)
        """
        chosen = images[:: max(1, len(images) // most)]
        return cls.over(chosen[start : start + _CHUNK] for start in range(0, len(chosen), _CHUNK))

    @classmethod
    def over(cls, parts: Iterable[Tensor]) -> "Normalize":
        """Mean and deviation per channel over uint8 batches [n, C, H, W], one in memory at a time.

        The sums are whole numbers, so that neither the order nor the sizes of the batches matter.

        Raises:
            InputError: no images.

        Example:
            >>> import torch
            >>> Normalize.over([torch.full((1, 1, 2, 2), v, dtype=torch.uint8) for v in (0, 255)]).mean
            (0.5,)
        """
        count, sums, squares = 0, torch.zeros(()), torch.zeros(())
        for part in parts:
            values = part.int()
            count += values.shape[0] * values.shape[2] * values.shape[3]
            sums = sums + values.sum((0, 2, 3)).double().cpu()
            squares = squares + (values * values).sum((0, 2, 3)).double().cpu()
        if not count:
            raise InputError(f"images must hold one at least, got {count} pixels; give some")
        mean = sums / count
        std = (squares / count - mean**2).clamp(min=0).sqrt() / 255
        return cls([round(m, 6) for m in (mean / 255).tolist()], [round(s, 6) or 1.0 for s in std.tolist()])
