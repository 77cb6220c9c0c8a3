"""GALA: margins from accumulated logit gradients."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import in_range, one_of
from tailgrad.distributed import sum_over_ranks
from tailgrad.losses.arguments import may_count, prepared, required_counts
from tailgrad.losses.gala_accumulators import GALAAccumulators
from tailgrad.losses.soft_counts import rows
from tailgrad.losses.targets import mix, of_labels
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction

MARGINS = ("implemented", "printed")


class GALALoss(Settings, nn.Module):
    """``loss(z, y) = CE(z + lambda1 log theta, y)``: balanced softmax, its prior accumulated gradients.

    ``theta_k`` accumulates the positive gradient of class k, ``(1/N) sum_{i: y_i=k} (1 - p_iy)`` of the
    shifted logits, over the steps before (see ``accumulation``). What the samples of class k push down
    elsewhere, the paper's ``phi_k``, sums to the same number, so one vector serves as both.

    ``margin="implemented"`` is that loss: the authors' code subtracts ``lambda2 log phi_y`` from all logits
    of an example, which no softmax can see. ``margin="printed"`` leaves the label's own logit alone:
    ``-log(e^z_y / (e^z_y + sum_{j!=y} e^z_j theta_j^lambda1 / phi_y^lambda2))``, the same where
    ``lambda1 = lambda2``.

    Args:
        class_counts: training examples of each class, each at least 1.
        margin: ``"implemented"`` or ``"printed"``.
        accumulation: ``"double"`` (the authors' code, early steps count most), ``"sum"`` or ``"ema"``.
        lambda1: at least 0; 0 with the implemented margin is cross-entropy.
        lambda2: at least 0; without effect on the implemented margin.
        momentum: of ``"ema"``, 0 to 1.
        floor: added to theta before the logarithm, above 0.
        scale_free: divide theta by its mean first, so that batch size and length of training change
            nothing but the floor's share.
        start: steps of class counts that theta starts from, at least 0; 0 is the authors' code, where a
            class not yet seen sits at ``log(floor)`` beside the others.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]); theta always takes the batch mean.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    theta is a buffer, updated in the forward pass after the loss is computed, in training only, in closed
    form and summed over processes. Steps whose loss is not finite add nothing, nor do passes inside function
    transforms. The margins stay on in evaluation mode, where theta stands still; the model's own logits never
    carry them. With probabilities
    as targets an example belongs to class k with share t_k, in the loss and in theta; the authors'
    absolute gradients would part theta from phi there.

    The published figures used ``lambda1=1.2, lambda2=0.9, scale_free=False, start=0`` and the defaults else.

    Source: arXiv 2403.09036 and its public code (both readings where they differ). ``scale_free``,
    ``start``, ``"sum"`` and ``"ema"`` are ours.

    Example:
        >>> loss = GALALoss([100, 10, 1], start=1.0)
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(6.6068)
        >>> loss.theta
        tensor([1.8018, 0.1802, 1.0167])
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        margin: str = "implemented",
        accumulation: str = "double",
        lambda1: float = 1.0,
        lambda2: float = 1.0,
        momentum: float = 0.999,
        floor: float = 1e-3,
        scale_free: bool = True,
        start: float = 10.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "GALALoss")
        self.num_classes = len(counts)
        self._shares = [n / sum(counts) for n in counts]
        self.margin = one_of("margin", margin, MARGINS)
        self.lambda1 = in_range("lambda1", lambda1, 0)
        self.lambda2 = in_range("lambda2", lambda2, 0)
        self.floor = in_range("floor", floor, 1e-30)
        self.scale_free = scale_free
        self.reduction = check_reduction(reduction)
        self.accumulators = GALAAccumulators(counts, accumulation, momentum=momentum, start=start)

    @property
    def theta(self) -> Tensor:
        """Accumulated positive gradients [K], as they are (not divided by their mean)."""
        return self.accumulators.theta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, self.num_classes)
        log_theta = self._log_theta(logits.dtype)
        own = of_labels((logits + self.lambda1 * log_theta).log_softmax(1), target)
        values = -own if self.margin == "implemented" else self._printed(own, log_theta, target)
        if may_count(self, values):
            self._accumulate(values.detach(), target)
        return reduce(mix(values, target), reduction=self.reduction)

    @torch.no_grad()
    def negatives_by_source(self, logits: Tensor, target: Tensor) -> Tensor:
        """``G[j, k] = (1/N) sum_{i: y_i=k} |d loss_i / d z_ij|`` [K, K] of one batch, for diagnosis.

        Row: the logit that is pushed; column: the class of the examples that push it. The diagonal holds
        the positive gradients. Changes no state.

        Args:
            logits: [N, K].
            target: class indices [N] or probabilities [N, K], whose labels count with their shares.
        """
        logits = prepared(logits, target, self.num_classes)
        log_theta = self._log_theta(logits.dtype)
        log_p = (logits + self.lambda1 * log_theta).log_softmax(1)
        values = -log_p if self.margin == "implemented" else self._printed(log_p, log_theta, None)
        pushes = rows(target, self.num_classes, log_p.dtype) / len(log_p) * -(-values).expm1()
        # Of what label k's own logit gains, every other pays its share of the remaining probability.
        paid = pushes / (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
        with torch.autocast(log_p.device.type, enabled=False):
            matrix = log_p.exp().T @ paid
        return matrix.diagonal_scatter(pushes.sum(0))

    def correction(self) -> Correction | None:
        """The shift in training as it is now, ``lambda1 log theta`` as the margins use it.

        Before the first step with ``start=0`` it is the one that is coming, ``lambda1 log pi`` with the
        training shares pi: a network that tells nothing apart has theta in proportion to them.

        What the printed margin adds where the lambdas differ depends on the label, as LDAM's does, and is
        not multiplied.
        """
        if not self.theta.any():
            return Correction("train_shift", tuple(self.lambda1 * math.log(pi) for pi in self._shares))
        shift = self.lambda1 * self._log_theta(torch.float64)
        return Correction("train_shift", tuple(shift.tolist()))

    def _log_theta(self, dtype: torch.dtype) -> Tensor:
        return self.accumulators.log(self.floor, scale_free=self.scale_free).to(dtype)

    def _printed(self, log_p: Tensor, log_theta: Tensor, target: Tensor | None) -> Tensor:
        extra = ((self.lambda1 - self.lambda2) * log_theta)[None]
        if target is not None:
            extra = of_labels(extra, target)
        others = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny).log()
        return F.softplus(others - log_p + extra)

    def _accumulate(self, values: Tensor, target: Tensor) -> None:
        errors = torch.where(values.isfinite(), -(-values).expm1(), torch.nan)
        if target.is_floating_point():
            sums = (target.to(errors.dtype) * errors).sum(0)
        else:
            sums = errors.new_zeros(self.num_classes).index_add(0, target.long(), errors.squeeze(1))
        sums = sum_over_ranks(torch.cat([sums, sums.new_tensor([len(values)])]))
        self.accumulators.add(sums[:-1] / sums[-1])
