"""The shortest vector in the convex hull of the class gradients."""

from tailgrad.interference.gram import Array
from tailgrad.optim.combiner import Combiner
from tailgrad.optim.quadratic import min_norm


class MGDA(Combiner):
    """``d = sum_k w_k g_k`` with ``w = argmin |sum_k w_k g_k|`` over the simplex.

    Every class descends at the same rate ``<d, g_k> = |d|^2`` or faster. The result is 0 where some convex
    combination vanishes, and short where one class's gradient is: a class that has converged holds the
    others back.

    Source: Desideri (2012); Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization"
    (NeurIPS 2018), equation 4. Solved exactly instead of by Frank-Wolfe steps.

    Example:
        >>> import torch
        >>> MGDA()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.2000, 0.4000])
    """

    def __init__(self) -> None:
        super().__init__()

    def weights(self, gram: Array) -> Array:
        """Point [m] of the simplex."""
        return min_norm(gram)
