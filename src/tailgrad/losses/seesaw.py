"""The seesaw loss: negatives of rare classes shrink with their counts, those of mistaken ones grow."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range, one_of
from tailgrad.distributed import sum_over_ranks
from tailgrad.losses.arguments import may_count, prepared, required_counts
from tailgrad.losses.targets import is_readable, mix, of_labels
from tailgrad.losses.weighting import check_reduction, listed, reduce
from tailgrad.losses.wide_buffers import keep_wide
from tailgrad.settings import Settings
from tailgrad.types import Correction

COUNTINGS = ("running", "continued", "fixed")


class SeesawLoss(Settings, nn.Module):
    """``loss(z, y) = CE(z + log S_y, y)``, ``S_yj = M_yj C_yj`` for j != y and ``S_yy = 1``.

    Mitigation ``M_yj = min(1, N_j / N_y)^p`` spares classes rarer than the label; compensation
    ``C_yj = max(1, p_j / max(p_y, eps))^q`` with ``p = softmax(z)``, held constant, punishes those taken for
    it. N counts the labels seen in training, this batch included, and 1 at least.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        p: mitigation, 0 to 4.
        q: compensation, 0 to ``80 / log(1 / eps)``.
        eps: floor of p_y, strictly between 0 and 1.
        counting: ``"running"``, N starts at 0; ``"continued"``, N starts at the class counts and runs on;
            ``"fixed"``, N stays there.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Running counts are summed over ranks and saved with the loss, in float32 or wider; passes inside function
    transforms are not counted. Probabilities as targets count as they are.
    Their loss costs ``N (K + 1 / eps^2)``, not ``N K^2``: M needs running sums over classes sorted by count,
    and C differs from its value at the floor only between classes more probable than eps.

    Source: Wang et al., arXiv 2008.10032; p 0.8, q 2, eps 0.01 and running counts as read in public code.

    Example:
        >>> loss = SeesawLoss([100, 10, 1], counting="fixed", reduction="none")
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]] * 2), torch.tensor([0, 1]))
        tensor([0.0599, 3.0513])
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    seen: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        p: float = 0.8,
        q: float = 2.0,
        eps: float = 0.01,
        counting: str = "running",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        known = torch.tensor(required_counts(class_counts, "SeesawLoss"), dtype=torch.float32)
        self.p = in_range("p", p, 0, 4)
        self.eps = in_range("eps", eps, 0, 1, exclusive=True)
        self.q = in_range("q", q, 0, 80 / math.log(1 / eps))  # C stays below e^80, finite in float32
        self.counting = one_of("counting", counting, COUNTINGS)
        self.reduction = check_reduction(reduction)
        self.register_buffer("seen", torch.zeros_like(known) if counting == "running" else known)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, len(self.seen))
        if self.counting != "fixed" and may_count(self, logits):
            self.seen += sum_over_ranks(_label_counts(target, self.seen))
        log_n = self.p * self.seen.clamp(min=1).log().to(logits.dtype)
        if target.is_floating_point():
            values = self._of_classes(logits, log_n)
        else:
            values = self._of_label(logits, log_n, target)
        return reduce(mix(values, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """Listed: factors that depend on the label and on the prediction are no shift of the prior."""
        return listed(len(self.seen))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        keep_wide(self, partial(super()._apply, fn, recurse))
        return self

    def _of_label(self, logits: Tensor, log_n: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            floor = logits.logsumexp(1, keepdim=True) + math.log(self.eps)
            floor = torch.maximum(floor, of_labels(logits, target))
            log_s = (logits - floor).clamp(min=0) * self.q
            log_s += (log_n - of_labels(log_n[None], target)).clamp(max=0)
        return -of_labels((logits + log_s).log_softmax(1), target)

    def _of_classes(self, logits: Tensor, log_n: Tensor) -> Tensor:
        """``log sum_j S_kj p_j - log p_k`` of every label k, [N, K]."""
        log_p = logits.log_softmax(1)
        p, held = log_p.exp(), log_p.detach()
        at_floor = p * (self.q * (held - math.log(self.eps)).clamp(min=0)).exp()
        total = _mitigated(at_floor, log_n)
        floors, top = held.topk(self._most_likely(held), dim=1)
        beyond = (held.gather(1, top)[:, None] - floors.clamp(min=math.log(self.eps))[..., None]).clamp(min=0)
        spared = (log_n[top][:, None] - log_n[top][..., None]).clamp(max=0).exp()
        added = (spared * (self.q * beyond).expm1() * p.gather(1, top)[:, None]).sum(2)
        total = total.scatter(1, top, _mitigated(p, log_n).gather(1, top) + added)
        return total.clamp(min=torch.finfo(total.dtype).tiny).log() - log_p

    def _most_likely(self, log_p: Tensor) -> int:
        """At least as many as the classes more probable than eps in any example."""
        if is_readable(log_p):
            return max(1, int((log_p > math.log(self.eps)).sum(1).max()))
        return min(log_p.shape[1], int(1 / self.eps) + 1)


def _mitigated(values: Tensor, log_n: Tensor) -> Tensor:
    """``sum_j min(1, N_j / N_k)^p values_j`` for every k, by running sums over classes sorted by count."""
    order = log_n.argsort()
    ratio = (log_n[order] - log_n.max()).exp()
    ordered = values.index_select(1, order)
    commoner = ordered.flip(1).cumsum(1).flip(1)
    rarer = (ratio * ordered).cumsum(1) / ratio - ordered
    return (commoner + rarer).index_select(1, order.argsort())


def _label_counts(target: Tensor, seen: Tensor) -> Tensor:
    if target.is_floating_point():
        return target.detach().sum(0).to(seen.dtype)
    return torch.zeros_like(seen).index_add_(0, target.long(), torch.ones_like(target, dtype=seen.dtype))
