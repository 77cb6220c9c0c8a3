"""Focal-SAM: sharpness in proportion to how rare a class is."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from tailgrad.checks import in_range, positive_counts
from tailgrad.optim.gradient_lists import Gradients, joint_norm, weighted_sum
from tailgrad.optim.sharpness_rule import SharpnessRule, ball
from tailgrad.optim.sharpness_sweeps import Sweeps


class FocalSAM(SharpnessRule):
    """``sum_c (1 - a_c) g_c(w) + a_c g_c(w + eps)`` with ``a_c = lam (1 - pi_c)^gamma``.

    ``eps = rho s / |s|`` with ``s = sum_c a_c g_c(w)``; ``g_c`` is class c's part of the gradient of the
    batch's mean loss, ``pi_c = n_c / sum n``. With ``lam = 0`` this is the plain gradient, with ``lam = 1``
    and ``gamma = 0`` that of SAM. For use inside ``SAM``.

    Args:
        class_counts: training examples of each class, each at least 1.
        lam: share of the sharpness part, 0 to 1.
        gamma: how fast it falls with the class's share of the data, at least 0.

    Raises:
        InputError: a count is not positive, or an option is outside its range.

    Source: Li et al., "Focal-SAM" (ICML 2025, arXiv 2505.01660); constants of the authors' code: rho 0.2,
    gamma 3, lam 0.5 for CIFAR-10-LT; 0.3, 3.2, 0.8 for CIFAR-100-LT.

    Example:
        >>> [round(a, 4) for a in FocalSAM([100, 10, 1]).shares.tolist()]
        [0.0005, 0.3767, 0.4866]
    """

    published_rho: ClassVar[float] = 0.2

    def __init__(self, class_counts: Sequence[int], *, lam: float = 0.5, gamma: float = 3.0) -> None:
        counts = torch.tensor(positive_counts(class_counts), dtype=torch.float64)
        self.num_classes = len(counts)
        self.lam, self.gamma = in_range("lam", lam, 0, 1), in_range("gamma", gamma, 0)
        self.shares = self.lam * (1 - counts / counts.sum()) ** self.gamma

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """Each class partly at the weights, partly at the perturbed ones."""
        still, uphill = sweeps.at_weights(1 - self.shares, self.shares).gradients
        if joint_norm(uphill) == 0:
            return still
        return weighted_sum(still, sweeps.perturbed(uphill, ball(uphill, rho), self.shares))

    @classmethod
    def passes(cls, _num_classes: int) -> float:
        """Two backward passes over the first forward pass, and a second step."""
        return 8 / 3
