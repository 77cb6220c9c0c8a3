"""Gradients of the loss with respect to the logits, by class: small sums kept in float64."""

import numpy as np
import torch
from torch import Tensor

from tailgrad.interference.contributions import LogitPull, logit_pull
from tailgrad.interference.gram import Array


class LogitGradients:
    """Adds up losses and logit gradients of K classes.

    Args:
        num_classes: K.
        projection: [K, d] that gradients are multiplied by before they are summed, where [K, K] is too much.

    Example:
        >>> sums = LogitGradients(2)
        >>> sums.add(torch.tensor([[-0.5, 0.5]]), torch.tensor([0.7]), torch.tensor([0]))
        >>> sums.pull.own, sums.pull.others
        (array([0.5, 0. ]), array([0. , 0.5]))
    """

    def __init__(self, num_classes: int, projection: Tensor | None = None) -> None:
        self._projection = projection
        width = num_classes if projection is None else projection.shape[1]
        self._matrix = torch.zeros(num_classes, width, dtype=torch.float64)
        self._loss = torch.zeros(num_classes, dtype=torch.float64)
        self.pull = LogitPull(np.zeros(num_classes), np.zeros(num_classes))
        self.counts = torch.zeros(num_classes, dtype=torch.int64)

    def add(self, gradient: Tensor, loss: Tensor, target: Tensor) -> None:
        """Add the logit gradients [n, K] and losses [n] of examples of classes ``target`` [n]."""
        gradient, target = gradient.detach().cpu().double(), target.cpu()
        self._loss.index_add_(0, target, loss.detach().cpu().double())
        self.pull += logit_pull(gradient, target)
        if self._projection is not None:
            gradient = gradient @ self._projection
        self._matrix.index_add_(0, target, gradient)

    def loss(self) -> Array:
        """Mean loss of each class [K], NaN without an example."""
        counts = torch.where(self.counts > 0, self.counts, torch.nan)
        return np.asarray((self._loss / counts).numpy())

    def means(self) -> Array:
        """Mean logit gradient of each class [K, K], or [K, d] if projected."""
        return np.asarray((self._matrix / self.counts.clamp(min=1)[:, None]).numpy())
