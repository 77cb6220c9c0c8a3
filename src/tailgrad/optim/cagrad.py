"""Conflict-averse gradients."""

import math

import numpy as np

from tailgrad.checks import in_range
from tailgrad.interference.gram import Array
from tailgrad.optim.combiner import Combiner
from tailgrad.optim.quadratic import min_norm

_SMALLEST = 1e-4  # of g_w's length in units of c |g0|: below, the hull holds 0 and weights would run away


class CAGrad(Combiner):
    """``d = g0 + c |g0| g_w / |g_w|`` with ``w = argmin <g_w, g0> + c |g0| |g_w|`` over the simplex.

    ``g0`` is the mean of the rows. Among all d within ``c |g0|`` of it this one raises the worst class's
    rate of descent the most. ``c = 0`` gives ``g0``, as does ``g0 = 0``.

    Args:
        c: radius in units of ``|g0|``, at least 0; below 1 the mean loss still descends.
        scale: ``"mean"`` divides by ``1 + c``; ``"published"`` is the formula above.

    Raises:
        InputError: ``c`` is negative.

    Source: Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning" (NeurIPS 2021), algorithm
    1. The official code divides by ``1 + c^2`` on request; solved here by a root in one number, see
    ``weights``.

    Example:
        >>> import torch
        >>> CAGrad(c=0.5, scale="published")(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.2500, 0.5000])
    """

    def __init__(self, c: float = 0.5, scale: str = "mean") -> None:
        super().__init__(scale)
        self.c = in_range("c", c, 0)

    def weights(self, gram: Array) -> Array:
        """Weights [m]: ``1/m + w/s``.

        ``|g_w| = min_t (|g_w|^2 / t + t) / 2`` turns the problem, for fixed ``s = t / (c |g0|)``, into the
        shortest vector in the hull of ``g_k + s g0``; the right s is where ``|g_w| = s c |g0|``. The
        difference of both sides changes sign once, because it is the slope of a convex function.
        """
        m = len(gram)
        gram = gram / np.trace(gram)
        mean = np.full(m, 1 / m)
        radius = self.c * _length(gram, mean)
        added = np.zeros(m) if radius < 1e-12 else _toward_worst(gram, radius)
        whole: Array = mean + added
        return whole / (1 + self.c) if self.scale == "mean" else whole


def _toward_worst(gram: Array, radius: float) -> Array:
    """Weights [m] of ``radius * g_w / |g_w|``."""
    along = gram.mean(1)
    square = along.mean()

    def simplex(s: float) -> Array:
        return min_norm(gram + s * (along[:, None] + along) + s**2 * square)

    def excess(s: float) -> float:
        return _length(gram, simplex(s)) - radius * s

    longest = 1.001 * float(np.diagonal(gram).max()) ** 0.5 / radius
    from scipy.optimize import brentq

    s = float(brentq(excess, _SMALLEST, longest, rtol=1e-12)) if excess(_SMALLEST) > 0 else _SMALLEST
    return simplex(s) / s


def _length(gram: Array, weights: Array) -> float:
    return math.sqrt(max(float(weights @ gram @ weights), 0.0))
