"""One objective of the class losses that leans to the classes with most left to gain."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.optim.combiner import SCALES
from tailgrad.settings import Settings


class GapWeights(Settings, nn.Module):
    """``sum_k w_k log L_k`` with ``w = m softmax(L / L_base)`` over the m classes in the batch.

    ``L_k`` is the mean loss of class k, ``L_base`` what it reaches without the method; a class far above its
    baseline has a gap that can be closed. Weights carry no gradient. Where every ``L_k / L_base_k`` is the
    same, w is 1. The logarithm makes the objective blind to the unit of each class's loss, and pulls
    ``w_k / L_k`` times as hard at class k: small losses are floored at 1e-6.

    Args:
        baseline: ``L_base``, K positive losses.
        scale: ``"mean"`` divides by m; ``"published"`` is the sum.

    Raises:
        InputError: a baseline is not above 0.

    Source: improvable-gap balancing for multi-task learning (IGB, loss-based form), with classes as tasks.

    Example:
        >>> objective = GapWeights([1.0, 2.0])
        >>> objective(torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0, 0, 1]))
        tensor(-0.3466)
    """

    baseline: Tensor

    def __init__(self, baseline: Sequence[float], scale: str = "mean") -> None:
        super().__init__()
        if not len(baseline):
            raise InputError("baseline must hold one loss a class, got none; measure them without the method")
        for place, value in enumerate(baseline):
            in_range(f"baseline[{place}]", float(value), 0, exclusive=True)
        self.scale = one_of("scale", scale, SCALES)
        self.register_buffer("baseline", torch.tensor([float(value) for value in baseline]))

    def forward(self, losses: Tensor, target: Tensor) -> Tensor:
        """The objective of one loss an example [N] and class indices [N].

        Raises:
            InputError: the losses are reduced, or the target does not fit them or the baseline.
        """
        whole = not target.is_floating_point() and target.dtype != torch.bool
        if losses.ndim != 1 or not len(losses) or target.shape != losses.shape or not whole:
            raise InputError(
                f"losses and target must be one number and one class index an example, got "
                f'{list(losses.shape)} and {target.dtype} {list(target.shape)}; use reduction="none"'
            )
        classes, place, counts = torch.unique(
            target.to(losses.device).long(), return_inverse=True, return_counts=True
        )
        if classes[0] < 0 or classes[-1] >= len(self.baseline):
            raise InputError(
                f"target must be in 0..{len(self.baseline) - 1}, got {int(classes[0])}..{int(classes[-1])}; "
                "give one baseline a class"
            )
        means = losses.new_zeros(len(classes)).index_add(0, place, losses) / counts
        weights = self.weights(means.detach(), classes)
        total: Tensor = (weights * means.clamp(min=1e-6).log()).sum()
        return total / len(classes) if self.scale == "mean" else total

    def weights(self, means: Tensor, classes: Tensor) -> Tensor:
        """Weights w [m] of the mean losses [m] of ``classes`` [m]."""
        ratio: Tensor = means / self.baseline[classes].to(means)
        weights: Tensor = len(means) * torch.softmax(ratio, 0)
        return weights
