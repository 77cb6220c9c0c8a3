"""ImbSAM: sharpness for the tail only."""

from collections.abc import Sequence

import torch

from tailgrad.checks import InputError, in_range, positive_counts
from tailgrad.optim.gradient_lists import Gradients, joint_norm, weighted_sum
from tailgrad.optim.sharpness_rule import SharpnessRule, ball
from tailgrad.optim.sharpness_sweeps import Sweeps


class ImbSAM(SharpnessRule):
    """``g_head(w) + g_tail(w + rho g_tail / |g_tail|)``: classes with ``n_c < eta`` are the tail.

    ``g_head`` is the head's part of the gradient of the batch's mean loss, ``g_tail`` twice the tail's. A
    batch without tail examples takes one pass and gives ``g_head``. Where every class is tail, this is SAM
    on the doubled loss. For use inside ``SAM``. The factor 2 is a class weight, stated by ``correction()``.

    Args:
        class_counts: training examples of each class, each at least 1.
        eta: smallest count of a head class; some class must be below.

    Raises:
        InputError: a count is not positive, or no class is below ``eta``.

    Source: Zhou et al., "ImbSAM" (ICCV 2023, arXiv 2308.07815); factor 2, ``eta = 20`` and ``rho = 0.05``
    from the authors' code; head and tail share the forward pass (and so BatchNorm's statistics).

    Example:
        >>> from tailgrad.optim import SAM
        >>> net = torch.nn.Linear(2, 2)
        >>> optimizer = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rule=ImbSAM([100, 10]))
        >>> optimizer.rule.weights_at_rest
        tensor([1., 2.], dtype=torch.float64)
    """

    def __init__(self, class_counts: Sequence[int], *, eta: float = 20) -> None:
        counts = positive_counts(class_counts)
        self.num_classes = len(counts)
        self.eta = in_range("eta", eta, 0)
        is_tail = torch.tensor([n < eta for n in counts], dtype=torch.float64)
        if not is_tail.any():
            raise InputError(
                f"eta must be above the smallest of class_counts, {min(counts)}, got {eta}; raise it, since "
                "nothing is left of ImbSAM without a tail class"
            )
        self._head, self._tail = 1 - is_tail, 2 * is_tail
        self.weights_at_rest = self._head + self._tail

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """Head at the weights and tail at the perturbed ones."""
        head, tail = sweeps.at_weights(self._head, self._tail).gradients
        if joint_norm(tail) == 0:
            return head
        return weighted_sum(head, sweeps.perturbed(tail, ball(tail, rho), self._tail))

    @classmethod
    def passes(cls, _num_classes: int) -> float:
        """Two backward passes over the first forward pass, and a second step."""
        return 8 / 3
