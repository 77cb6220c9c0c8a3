"""The nearest class mean as a classifier."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, one_of
from tailgrad.heads.options import whole_size
from tailgrad.heads.pooling import check_features, mean_positions
from tailgrad.heads.unit import unit
from tailgrad.precision import full_precision

KINDS = ("raw", "l2", "centred")
NEARNESS = ("cosine", "distance")


class NearestMean(nn.Module):
    """``z_k = -|g - mu_k|^2``, or the cosine of g and mu_k; but for ``"raw"`` g are directions from a centre.

    Args:
        means: mu [K, D].
        centre: what is taken from the features first [D].
        kind: ``"raw"``, ``"l2"`` or ``"centred"``.
        near: ``"cosine"`` or ``"distance"``; ``"raw"`` always goes by distance.

    Source: as ``nearest_class_mean``, which makes it.

    Example:
        >>> NearestMean(torch.eye(2), torch.zeros(2), "raw")(torch.tensor([[1.0, 3.0]]))
        tensor([[-9., -5.]])
    """

    takes: ClassVar[str] = "pooled"
    means: Tensor
    centre: Tensor

    def __init__(self, means: Tensor, centre: Tensor, kind: str, near: str = "cosine") -> None:
        super().__init__()
        self.kind = one_of("kind", kind, KINDS)
        self.near = "distance" if kind == "raw" else one_of("near", near, NEARNESS)
        self.register_buffer("means", means)
        self.register_buffer("centre", centre)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of pooled features [N, D]."""
        check_features(features, self.means.shape[1])
        with full_precision(features):
            pooled = mean_positions(features).to(self.means.dtype)
            if self.kind != "raw":
                pooled = unit(pooled - self.centre)
            if self.near == "cosine":
                return pooled @ unit(self.means).T
            return -torch.cdist(pooled, self.means, compute_mode="donot_use_mm_for_euclid_dist").square()


def nearest_class_mean(
    features: Tensor, target: Tensor, num_classes: int, kind: str = "raw", *, near: str = "cosine"
) -> NearestMean:
    """A head whose logits say how near each class's mean training feature is.

    Args:
        features: pooled training features [N, D].
        target: class indices [N].
        num_classes: K, at least 2.
        kind: ``"raw"``, negative squared distance; ``"l2"``, features of length one and the means of such;
            ``"centred"``, the same after taking away the mean of all training features.
        near: how ``"l2"`` and ``"centred"`` compare: ``"cosine"``, or ``"distance"``, negative and squared.

    Raises:
        InputError: shapes differ, a class has no example, or the kind or ``near`` is unknown.

    Means of features of length one are shorter than one, the more a class scatters: the distance sees that,
    the cosine does not, and the two may choose different classes.

    With one example a class this is the nearest neighbour. The mean of all features counts every example,
    so that frequent classes weigh more in the centre.

    Source: NCM of Kang et al., arXiv 1910.09217 and its official code; by default that code goes
    by the distance (here ``kind="centred", near="distance"``) and the cosine is its other choice.

    Example:
        >>> head = nearest_class_mean(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]), 2)
        >>> head(torch.tensor([[1.8, 0.0]])).argmax(1)
        tensor([1])
    """
    one_of("kind", kind, KINDS)
    one_of("near", near, NEARNESS)
    whole_size("num_classes", num_classes, 2)
    _check(features, target, num_classes)
    features = features.detach().to(torch.promote_types(features.dtype, torch.float32))
    centre = features.mean(0) if kind == "centred" else torch.zeros_like(features[0])
    seen = features if kind == "raw" else unit(features - centre)
    labels = target.to(features.device).long()
    counts = torch.bincount(labels, minlength=num_classes)
    sums = seen.new_zeros(num_classes, seen.shape[1]).index_add_(0, labels, seen)
    return NearestMean(sums / counts[:, None], centre, kind, near)


def _check(features: Tensor, target: Tensor, num_classes: int) -> None:
    if features.ndim != 2 or target.shape != features.shape[:1] or target.is_floating_point():
        raise InputError(
            f"features and target must be [N, D] and integers [N], got {list(features.shape)} and "
            f"{target.dtype} {list(target.shape)}; pool the features and give class indices"
        )
    if len(target) and int(target.min()) < 0:
        raise InputError(f"target must be at least 0, got {int(target.min())}; leave out such examples")
    counts = torch.bincount(target.cpu().long(), minlength=num_classes)
    missing = (counts[:num_classes] == 0).nonzero().flatten().tolist()
    if missing or len(counts) > num_classes:
        raise InputError(
            f"target must hold every class of 0..{num_classes - 1} and no other, got none of {missing[:10]} "
            f"and a largest index of {len(counts) - 1}; give at least one example of each class"
        )
