"""BatchNorm whose statistics are those of the batch of all processes."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tailgrad.checks import InputError
from tailgrad.distributed import is_spread, summed


class JointBatchNorm(_BatchNorm):
    """What ``SyncBatchNorm`` computes, on the CPU too, where there is none; on one process plain BatchNorm.

    It is no subclass, since DDP takes none on the CPU, and applies weight and bias by ``F.batch_norm`` as
    BatchNorm does, so that a monitor of class gradients can tell examples apart there.

    Example:
        >>> norm = nn.BatchNorm2d(3)
        >>> join_batch_norms(nn.Sequential(norm))
        >>> type(norm).__name__, norm(torch.zeros(2, 3, 4, 4)).shape
        ('JointBatchNorm', torch.Size([2, 3, 4, 4]))
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalised values of x [N, C, ...]."""
        return self._jointly(x) if self.training and is_spread() else super().forward(x)

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of positions."""

    def _jointly(self, x: Tensor) -> Tensor:
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        size = wide.new_full((1,), x.numel() / x.shape[1])
        sums = summed(torch.cat([wide.sum(dims), size]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = wide - mean.view(shape)
        variance = summed(centred.square().sum(dims)) / count
        self._follow(mean.detach(), variance.detach(), count)
        found = centred * (variance + self.eps).rsqrt().view(shape)
        zeros, ones = torch.zeros_like(count.expand(x.shape[1])), torch.ones_like(count.expand(x.shape[1]))
        return F.batch_norm(found, zeros, ones, self.weight, self.bias, eps=0.0).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]  # there where the others are
        share = self.momentum
        if share is None:
            share = 1 / int(cast("Tensor", self.num_batches_tracked))
        unbiased = variance * count / (count - 1)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(unbiased.to(self.running_var), share)


class JointBatchNormAct(JointBatchNorm):
    """The same with what timm's ``BatchNormAct2d`` does afterwards.

    Example: see ``JointBatchNorm``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalised and activated values of x [N, C, H, W]."""
        after = cast("Any", self)
        found: Tensor = after.act(after.drop(super().forward(x)))
        return found


PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
JOINT = (JointBatchNorm, nn.SyncBatchNorm)
"""Those whose passes all processes have to make together."""


def join_batch_norms(model: nn.Module) -> None:
    """Let every BatchNorm of a network, in place, see the batch of all processes.

    Parameters, buffers and hooks stay the same objects.

    Raises:
        InputError: one is of a kind of its own.

    Example: see ``JointBatchNorm``.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, JOINT):
            continue
        module.__class__ = _joint_kind(name, module)


def _joint_kind(name: str, module: nn.Module) -> type[JointBatchNorm]:
    if type(module) in PLAIN:
        return JointBatchNorm
    if type(module).__name__ == "BatchNormAct2d":
        return JointBatchNormAct
    raise InputError(
        f"train.devices must be 1 for a network with {type(module).__name__}, got it as {name!r}: its "
        "statistics cannot be taken over several processes; use another model"
    )
