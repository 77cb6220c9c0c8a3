"""Projecting conflicting gradients."""

import numpy as np
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.interference.gram import Array
from tailgrad.optim.combiner import Combiner


class PCGrad(Combiner):
    """``d = sum_k g'_k``, where ``g'_k`` lost what opposes the other classes.

    Each ``g'_k`` starts at ``g_k`` and meets the others in random order: where ``<g'_k, g_j> < 0`` it loses
    its projection on the original ``g_j``. Without conflict the result is the plain sum. For two classes it
    opposes neither; for more it may still oppose some.

    Args:
        seed: of the random orders, kept in ``state_dict``; None draws from PyTorch's own generator, which a
            training loop seeds.
        scale: ``"mean"`` divides the sum by m; ``"published"`` is the sum.

    Raises:
        InputError: ``seed`` is not a whole number.

    Source: Yu et al., "Gradient Surgery for Multi-Task Learning" (NeurIPS 2020), algorithm 1.

    Example:
        >>> PCGrad(scale="published")(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.5000, 1.5000])
    """

    def __init__(self, seed: int | None = None, scale: str = "mean") -> None:
        super().__init__(scale)
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise InputError(f"seed must be a whole number or None, got {seed!r}; give one such as 0")
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def weights(self, gram: Array) -> Array:
        """Column sums [m] of the projections, all classes projected side by side."""
        m = len(gram)
        orders = torch.rand(m, m, generator=self._generator).argsort(dim=1).numpy()
        own, mixed = np.arange(m), np.eye(m)
        for others in orders.T:  # others[k] is the class that g'_k meets now
            against = (mixed * gram[others]).sum(1)
            against[(others == own) | (against > 0)] = 0.0
            mixed[own, others] -= against / np.diagonal(gram)[others]
        total: Array = mixed.sum(0)
        return total / m if self.scale == "mean" else total

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the own generator, where there is one."""
        return {} if self._generator is None else {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put the generator's state back."""
        if self._generator is not None and "generator" in state:
            self._generator.set_state(state["generator"].cpu())
