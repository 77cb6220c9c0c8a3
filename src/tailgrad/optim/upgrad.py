"""Gradients projected on the dual cone, then averaged."""

import numpy as np

from tailgrad.checks import in_range
from tailgrad.interference.gram import Array
from tailgrad.optim.combiner import Combiner
from tailgrad.optim.quadratic import dual_cone


class UPGrad(Combiner):
    """``d = (1/m) sum_k proj(g_k)`` on the cone {d: <d, g_j> >= 0 for all j}.

    No class's loss rises to first order, whatever m. The projections are the quadratic programs
    ``min v' G v`` over ``v >= e_k / m`` with ``G / tr(G) + ridge I``. The ridge keeps them well posed and
    costs exactness: ``<d, g_j> >= -sqrt(ridge (1 + ridge)) tr(G)`` is what holds, and the classes that feel
    it are those with gradients about ``sqrt(ridge)`` as long as the longest.

    Args:
        ridge: added to the diagonal of the Gram matrix of trace 1, above 0 and below 1.

    Raises:
        InputError: ``ridge`` is outside its range.

    Source: Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization" (arXiv 2406.16232),
    equation 3; normalisation and ridge as in TorchJD.

    Example:
        >>> import torch
        >>> UPGrad(ridge=1e-9)(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.2500, 0.7500])
    """

    def __init__(self, ridge: float = 1e-4) -> None:
        super().__init__()
        self.ridge = in_range("ridge", ridge, 0, 1, exclusive=True)

    def weights(self, gram: Array) -> Array:
        """Mean [m] of the weights of the m projections."""
        m = len(gram)
        regular = gram / np.trace(gram) + self.ridge * np.eye(m)
        total: Array = np.mean([dual_cone(regular, row) for row in np.eye(m)], axis=0)
        return total
