"""Weights that are learnt so that class gradients have the lengths they should."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range
from tailgrad.interference.gram import Array
from tailgrad.optim.combiner import Combiner


class GradNorm(Combiner):
    """``d = sum_k w_k g_k`` with ``w = K softmax(v)``, v learnt.

    After each step v descends ``sum_k | w_k |g_k| - T_k |`` with the targets ``T_k = Gbar r_k^alpha`` held
    fixed, ``Gbar`` the mean of ``w_k |g_k|``, ``r_k = (L_k / L_k(0)) / mean``: a class whose loss has fallen
    less than the others' gets a longer gradient. ``L_k(0)`` is the loss of the class when first seen. Needs
    to be told the losses, so it works inside ``ClassGradientOptimizer``. Unrelated to the CSBA paper's
    "GradNorm", which is a head (``BranchSoftmax``).

    Args:
        num_classes: K.
        alpha: strength of the restoring force, at least 0; 0 makes all gradients equally long.
        rate: learning rate of v, above 0.
        scale: ``"mean"`` divides by the number m of classes present; ``"published"`` is the sum.

    Raises:
        InputError: an argument is outside its range, or a class is not below ``num_classes``.

    Source: Chen et al., "GradNorm" (ICML 2018), equations 1 and 2, with the softmax of LibMTL instead of
    renormalising.

    Example:
        >>> combiner = GradNorm(num_classes=2)
        >>> combiner.observe(torch.tensor([0, 1]), torch.tensor([1.0, 1.0]))
        >>> combiner(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.0000, 0.5000])
    """

    def __init__(
        self, num_classes: int, alpha: float = 1.5, rate: float = 0.025, scale: str = "mean"
    ) -> None:
        super().__init__(scale)
        self.num_classes = int(in_range("num_classes", num_classes, 1))
        self.alpha = in_range("alpha", alpha, 0)
        self.rate = in_range("rate", rate, 0, np.inf, exclusive=True)
        self._v = np.zeros(self.num_classes)
        self._first = np.full(self.num_classes, np.nan)
        self._classes = np.zeros(0, dtype=np.int64)
        self._places = np.zeros(0, dtype=np.int64)
        self._losses = np.zeros(0)

    def observe(self, classes: Tensor, losses: Tensor) -> None:
        """Note the classes [m] and mean losses [m] that the next rows belong to."""
        self._classes = classes.cpu().numpy()
        self._losses = losses.detach().cpu().double().numpy()
        if len(self._classes) and self._classes.max() >= self.num_classes:
            raise InputError(
                f"classes must be below num_classes={self.num_classes}, got {self._classes.max()}; "
                "build GradNorm with the number of classes"
            )
        new = np.isnan(self._first[self._classes])
        self._first[self._classes[new]] = np.maximum(self._losses[new], 1e-12)

    def row_weights(self, products: Array) -> Array:
        """Weights [m] of all rows; those of zeros do not matter and do not learn."""
        if len(products) != len(self._classes):
            raise InputError(
                f"rows must be those of the {len(self._classes)} classes last observed, got {len(products)}; "
                "use GradNorm inside ClassGradientOptimizer or call observe first"
            )
        self._places = np.flatnonzero(np.diagonal(products) > 0)
        return super().row_weights(products)

    def weights(self, gram: Array) -> Array:
        """Current weights [m]; afterwards v takes one step."""
        classes = self._classes[self._places]
        chances = np.exp(self._v - self._v.max())
        chances /= chances.sum()
        w = self.num_classes * chances[classes]
        self._learn(chances, classes, w * np.sqrt(np.diagonal(gram)))
        result: Array = w / len(w) if self.scale == "mean" else w
        return result

    def _learn(self, chances: Array, classes: npt.NDArray[np.int64], lengths: Array) -> None:
        pace = self._losses[self._places] / self._first[classes]
        target = lengths.mean() * (np.maximum(pace, 1e-12) / max(pace.mean(), 1e-12)) ** self.alpha
        # d lengths_k / d v_j = lengths_k (1[k = j] - chances_j); a scale-free step, as lengths have a unit
        pull = np.sign(lengths - target) * lengths / lengths.mean()
        slope = -chances * pull.sum()
        slope[classes] += pull
        self._v -= self.rate * slope

    def state_dict(self) -> dict[str, Tensor]:
        """The numbers v and the first losses."""
        return {"v": torch.from_numpy(self._v.copy()), "first": torch.from_numpy(self._first.copy())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put v and the first losses back."""
        self._v = state["v"].cpu().double().numpy().copy()
        self._first = state["first"].cpu().double().numpy().copy()
