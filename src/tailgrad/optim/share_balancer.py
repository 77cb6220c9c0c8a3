"""Give each class its share of the gradient at the features, within one ordinary backward pass."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tailgrad.checks import InputError, in_range
from tailgrad.distributed import place as among_ranks
from tailgrad.distributed import sum_over_ranks
from tailgrad.settings import Settings


class ShareBalancer(Settings, nn.Module):
    """Identity whose backward pass sends ``R (lambda_c / sum lambda) g_c / EMA|g_c|`` for class c's part.

    ``g_c`` is the gradient of the batch's loss with respect to the features of the examples of class c,
    ``EMA`` a running mean over the steps that hold the class, and ``R = sum_k EMA|g_k|`` over the classes
    seen so far. Over the steps in which class c occurs the norm it sends into the backbone so averages
    ``lambda_c / sum lambda`` of R; where the running norms already stand in these proportions nothing
    changes, so the learning rate keeps its meaning. Constant factors on a class's loss cancel. Only what
    lies below the features feels it: the head gets its ordinary gradient. A step whose gradient is not
    finite, as loss scaling makes them, is not remembered.

    Valid only if examples stay independent above the features: behind BatchNorm the gradient at one
    class's features holds other classes' losses. Not for use together with ``ClassGradientOptimizer``,
    whose several backward passes would each count as a step.

    Args:
        num_classes: K.
        shares: lambda, K positive numbers; None for equal shares.
        decay: of the running mean, at least 0 and below 1.
        after: the module that reads the features, to be searched for BatchNorm.

    Raises:
        InputError: an argument is outside its range, or ``after`` holds BatchNorm in use.

    Source: Defossez et al., "High Fidelity Neural Audio Compression" (EnCodec), section 3.4, with classes as
    the losses and features as the tensor; R and the bias correction of the mean are ours (EnCodec: R = 1).

    Example:
        >>> head, balancer = nn.Linear(4, 2), ShareBalancer(num_classes=2)
        >>> features, target = torch.randn(3, 4, requires_grad=True), torch.tensor([0, 0, 1])
        >>> nn.functional.cross_entropy(head(balancer(features, target)), target).backward()
        >>> norms = [features.grad[target == c].norm() for c in (0, 1)]
        >>> bool(torch.isclose(norms[0], norms[1]))
        True
    """

    shares: Tensor
    norm: Tensor
    weight: Tensor

    def __init__(
        self,
        num_classes: int,
        shares: Sequence[float] | None = None,
        *,
        decay: float = 0.999,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = int(in_range("num_classes", num_classes, 1))
        self.decay = in_range("decay", decay, 0, 1 - 1e-9)
        if after is not None:
            _refuse_batch_norm(after)
        given = _shares(shares, self.num_classes)
        self.register_buffer("shares", given / given.sum())
        self.register_buffer("norm", torch.zeros(self.num_classes))
        self.register_buffer("weight", torch.zeros(self.num_classes))

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """``features`` [N, ...] unchanged; ``target`` holds class indices [N]."""
        whole = not target.is_floating_point() and target.dtype != torch.bool
        if target.shape != features.shape[:1] or not whole:
            raise InputError(
                f"target must be class indices [{len(features)}], one a row of features, got {target.dtype} "
                f"{list(target.shape)}; shares need whole labels, switch mixing off"
            )
        # Only where reading the values is free, as losses do.
        if target.is_cpu and len(target) and not 0 <= target.min() <= target.max() < self.num_classes:
            raise InputError(
                f"target must be in 0..{self.num_classes - 1}, got {int(target.min())}..{int(target.max())}; "
                "build the balancer with the number of classes"
            )
        passed = features.view_as(features)
        if self.training and passed.requires_grad:
            place = target.to(features.device).long()
            passed.register_hook(lambda g: self._balance(g, place))  # type: ignore[no-untyped-call]
        return passed

    @torch.no_grad()
    def _balance(self, gradient: Tensor, target: Tensor) -> Tensor:
        squares = gradient.to(self.norm.dtype).flatten(1).square().sum(1)
        sums = sum_over_ranks(torch.zeros_like(self.norm).index_add_(0, target, squares))
        norms = sums.sqrt() / among_ranks()[1]  # data-parallel training takes the mean over ranks
        seen = norms > 0
        kept = seen & norms.isfinite().all()  # infinity would stay in a running mean for ever
        for mean, new in ((self.norm, norms), (self.weight, torch.ones_like(norms))):
            mean.copy_(torch.where(kept, self.decay * mean + (1 - self.decay) * new, mean))
        means = self.norm / self.weight.clamp(min=1e-12)  # weight corrects the start from 0
        factor = torch.where(seen, means.sum() * self.shares / means.clamp(min=1e-30), 0.0)
        # Shares are among the classes seen: one never met must not take its share from the others.
        factor = factor / self.shares[self.weight > 0].sum().clamp(min=1e-12)
        scaled = gradient.flatten(1) * factor[target, None].to(gradient.dtype)
        return scaled.view_as(gradient)


def _shares(shares: Sequence[float] | None, num_classes: int) -> Tensor:
    if shares is None:
        return torch.ones(num_classes)
    values = [float(s) for s in shares]
    if len(values) != num_classes:
        raise InputError(
            f"shares must hold one number a class, got {len(values)} for {num_classes} classes; "
            "give them in the order of the classes"
        )
    for place, value in enumerate(values):
        in_range(f"shares[{place}]", value, 0, exclusive=True)
    return torch.tensor(values)


def _refuse_batch_norm(after: nn.Module) -> None:
    for name, module in after.named_modules():
        if isinstance(module, _BatchNorm):
            raise InputError(
                f"after must keep examples independent, got {name or 'a module'!r} "
                f"({type(module).__name__}) behind the features; put the balancer behind it or "
                "use another norm"
            )
