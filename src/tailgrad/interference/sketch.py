"""Random projections of gradients that keep inner products: signed sums into a few thousand numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


class Sketcher:
    """A linear map from named parameter vectors to ``size`` numbers that keeps inner products on average.

    Entry i of the joined vector is multiplied by a random sign and added to number ``i mod p``, with p the
    largest prime up to ``size``: the period is prime, so that no layer's width lines up with it. Inner
    products are unbiased, and the error of a cosine is about ``1 / sqrt(size)``. A vector that already fits
    is kept as it is.

    Args:
        numels: parameter name -> numbers in it.
        size: numbers to keep, at least 64.
        seed: draws the signs.

    Source: count sketch (Charikar, Chen and Farach-Colton 2002) with a fixed hash; unbiased by the signs.

    Example:
        >>> sketcher = Sketcher({"weight": 3, "bias": 1}, 64)
        >>> sketcher.is_exact, sketcher.size
        (True, 4)
        >>> sketcher.of("bias", torch.tensor([[5.0]]))
        tensor([[0., 0., 0., 5.]])
    """

    def __init__(self, numels: Mapping[str, int], size: int, seed: int = 0) -> None:
        total = sum(numels.values())
        self.is_exact = total <= size
        self.size = total if self.is_exact else size
        self._period = self.size if self.is_exact else _prime_up_to(size)
        self._starts: dict[str, int] = {}
        self._signs: dict[str, Tensor] = {}
        generator = torch.Generator().manual_seed(seed)
        start = 0
        for name, numel in numels.items():
            self._starts[name] = start % self._period
            start += numel
            if not self.is_exact:
                signs = torch.randint(2, (numel,), generator=generator, dtype=torch.int8)
                self._signs[name] = signs.mul_(2).sub_(1)

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that are sketched together, in order."""
        return tuple(self._starts)

    def __contains__(self, name: str) -> bool:
        return name in self._starts

    def __len__(self) -> int:
        return len(self._starts)

    def of(self, name: str, rows: Tensor) -> Tensor:
        """What rows [n, numel] of one parameter add to the sketch, [n, size]."""
        if name in self._signs:
            signs = self._signs[name] = self._signs[name].to(rows.device)
            rows = rows * signs
        start = self._starts[name]
        after = -(start + rows.shape[1]) % self._period
        folded = F.pad(rows, (start, after)).view(len(rows), -1, self._period).sum(1)
        return F.pad(folded, (0, self.size - self._period))


def _prime_up_to(n: int) -> int:
    while any(n % d == 0 for d in range(2, int(n**0.5) + 1)):
        n -= 1
    return n
