"""What every method that combines class gradients shares."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from tailgrad.checks import InputError, one_of
from tailgrad.interference.gram import Array, gram
from tailgrad.settings import Shown

SCALES = ("mean", "published")


class Combiner(Shown, ABC):
    """``d = sum_k w_k g_k`` with weights read from the inner products ``<g_i, g_j>``.

    Args:
        scale: ``"mean"``: m equal gradients give that gradient back, so that where classes agree the step
            is that of the mean of the class gradients and the same learning rate fits; ``"published"``: the
            method's own formula.

    Raises:
        InputError: ``scale`` is unknown.

    Example:
        >>> class Mean(Combiner):
        ...     def weights(self, gram):
        ...         return np.full(len(gram), 1 / len(gram))
        >>> Mean()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.0000, 0.5000])
    """

    def __init__(self, scale: str = "mean") -> None:
        self.scale = one_of("scale", scale, SCALES)

    @abstractmethod
    def weights(self, gram: Array) -> Array:
        """Weights [m] of rows whose inner products are ``gram`` [m, m], float64, diagonal above 0."""

    def __call__(self, rows: Tensor) -> Tensor:
        """The combined direction [P] of class gradients [m, P], in their type and on their device.

        Raises:
            InputError: not a floating-point matrix with a row, or an entry that is not finite.
        """
        if rows.ndim != 2 or not len(rows) or not rows.is_floating_point():
            raise InputError(
                f"rows must be floating point [m, P] with m at least 1, got {rows.dtype} "
                f"{list(rows.shape)}; give one gradient a class"
            )
        return torch.from_numpy(self.row_weights(gram(rows))).to(rows) @ rows.detach()

    def row_weights(self, products: Array) -> Array:
        """Weights [m] as ``weights`` gives them, 0 for a gradient of zeros.

        Raises:
            InputError: a gradient is not finite.
        """
        squares = np.diagonal(products)
        if not np.isfinite(squares).all():
            place = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise InputError(
                f"rows must be finite, got NaN or infinity in rows[{place}]; lower the learning rate or "
                "look at the loss of this class"
            )
        keep = np.flatnonzero(squares > 0)
        result = np.zeros(len(squares))
        if len(keep):
            result[keep] = self.weights(products[np.ix_(keep, keep)])
        return result

    def observe(self, classes: Tensor, losses: Tensor) -> None:
        """Told before each step which classes [m] the rows belong to, and their mean losses [m]."""

    def state_dict(self) -> dict[str, Tensor]:
        """What an exact resume needs; empty for a method without memory."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state_dict`` gave."""
