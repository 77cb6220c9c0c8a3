"""Group DRO with the classes as groups."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.distributed import sum_over_ranks
from tailgrad.losses.arguments import may_count, prepared, required_counts
from tailgrad.losses.soft_counts import rows
from tailgrad.losses.targets import is_transformed, mix, of_labels
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.losses.wide_buffers import keep_wide
from tailgrad.settings import Settings
from tailgrad.types import Correction


class GroupDROLoss(Settings, nn.Module):
    """``loss = sum_c q_c L_c``, ``q_c <- q_c exp(eta_q L_c) / sum_j q_j exp(eta_q L_j)``.

    ``L_c`` is the mean cross-entropy of class c in the batch, 0 where it is absent. q starts uniform, moves
    before the step that uses it, and only in training. With eta_q = 0 the loss is class-balanced: the mean
    of the class means.

    Args:
        class_counts: training examples of each class, each at least 1.
        eta_q: step of q, at least 0.
        reduction: ``"mean"`` is the loss above. ``"none"`` ([N]) splits it into examples,
            ``N q_y l_i / N_y`` with N_y of the N of class y in the batch; ``"sum"`` is N times it.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Outside training, and inside function transforms, the class counts stand for N_y and their sum for N: then
    no example depends on the others, as class gradients need it, and the mean over the training data is the
    loss above, that over a batch its estimate.

    With probabilities t as targets, an example belongs to class c with share t_c. Over several processes q
    sees the classes of all, each process's loss its own (in ``tailgrad.train`` those of all too). Networks
    that can fit every training example need strong regularisation beside it, or q follows noise.

    Source: Sagawa et al., arXiv 1911.08731, general knowledge of the method; eta_q = 0.01 assumed.

    Example:
        >>> loss = GroupDROLoss([2, 1], eta_q=0.0)
        >>> loss(torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 0, 1]))
        tensor(1.1269)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    log_q: Tensor

    def __init__(
        self, class_counts: Sequence[int] | None = None, *, eta_q: float = 0.01, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.counts = required_counts(class_counts, "GroupDROLoss")
        self.num_classes = len(self.counts)
        self.eta_q = in_range("eta_q", eta_q, 0)
        self.reduction = check_reduction(reduction)
        self.register_buffer("log_q", torch.full((self.num_classes,), -math.log(self.num_classes)))

    @property
    def q(self) -> Tensor:
        """Weights of the classes [K], which sum to 1."""
        return self.log_q.exp()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        values = -prepared(logits, target, self.num_classes).log_softmax(1)
        members = rows(target, self.num_classes, values.dtype)
        sizes = members.sum(0)
        if may_count(self, values) and self.eta_q:
            self._move((members * values.detach().nan_to_num(0, 0)).sum(0), sizes)
        if self.training and not is_transformed(values):
            found = sizes / len(values)
        else:
            found = values.new_tensor(self.counts) / sum(self.counts)
        shares = torch.where(found > 0, self.q.to(values.dtype) / found, 0.0)
        picked = of_labels(shares[None], target) * of_labels(values, target)
        return reduce(mix(picked, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """``log q_k - log pi_k`` of the current q: class means weigh q_k whatever the class's share.

        A balanced sampler beside it is refused by the ledger as a second correction; it would change
        which examples are drawn and not the weights of the classes.
        """
        total = math.log(sum(self.counts))
        shares = [math.log(n) - total for n in self.counts]
        pairs = zip(self.log_q.tolist(), shares, strict=True)
        return Correction("weight", tuple(log_q - log_pi for log_q, log_pi in pairs))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        keep_wide(self, partial(super()._apply, fn, recurse))
        return self

    @torch.no_grad()
    def _move(self, sums: Tensor, sizes: Tensor) -> None:
        sums, sizes = sum_over_ranks(torch.stack([sums, sizes]))
        means = torch.where(sizes > 0, sums / sizes, 0.0)
        self.log_q.copy_((self.log_q + self.eta_q * means).log_softmax(0))
