"""What mixers share: class probabilities as targets, the share of each partner, pairing, pasting."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailgrad.augment.beside import beside
from tailgrad.augment.boxes import random_boxes
from tailgrad.checks import InputError, positive_counts

UNDERFLOWS = 0.01
"""Alpha below which both Gamma variables of PyTorch's Beta may be 0; it then gives a share of one half."""


def count_classes(class_counts: Sequence[int] | None) -> int:
    """The number of classes K.

    Raises:
        InputError: there are no counts, or one is not positive.

    Example:
        >>> count_classes([100, 10, 1])
        3
    """
    if class_counts is None or len(class_counts) == 0:
        raise InputError(
            f"class_counts must hold one count a class, got {class_counts}; mixed targets need the classes"
        )
    return len(positive_counts(class_counts))


def probabilities(target: Tensor, num_classes: int) -> Tensor:
    """Targets as float32 rows [N, K]: one-hot for class indices [N]; rows are passed through.

    Raises:
        InputError: shape or values do not fit K classes (values are read on the CPU only).

    Example:
        >>> probabilities(torch.tensor([1, 0]), 2)
        tensor([[0., 1.],
                [1., 0.]])
    """
    if target.is_floating_point() and target.ndim == 2 and target.shape[1] == num_classes:
        return target.float()
    if target.is_floating_point() or target.ndim != 1:
        raise InputError(
            f"target must be class indices [N] or probabilities [N, {num_classes}], got {target.dtype} "
            f"{list(target.shape)}; give one of the two"
        )
    if target.device.type == "cpu" and len(target) and not 0 <= target.min() <= target.max() < num_classes:
        raise InputError(
            f"target must be in 0..{num_classes - 1}, got {int(target.min())}..{int(target.max())}; "
            "check the labels against class_counts"
        )
    rows = torch.zeros(len(target), num_classes, device=target.device)
    return rows.scatter_(1, target.long()[:, None], 1.0)


def draw_share(alpha: float, images: Tensor, *, per_example: bool) -> Tensor:
    """The share of the first partner, from Beta(alpha, alpha): [1], or [N] for one each.

    Args:
        alpha: 0 or more; 0 is always 1, no mixing.
        images: N images; the result is on their device.
        per_example: whether every image has a share of its own.

    Example:
        >>> draw_share(0.0, torch.zeros(2, 3, 4, 4), per_example=True)
        tensor([1., 1.])
    """
    n = len(images) if per_example else 1
    if alpha == 0:
        return torch.ones(n, device=images.device)
    if alpha < UNDERFLOWS:
        return beside(images, _extreme_share(alpha, n))
    return beside(images, torch.distributions.Beta(alpha, alpha).sample((n,)))


def _extreme_share(alpha: float, n: int) -> Tensor:
    """``g_1 / (g_1 + g_2)`` by logarithms, with ``g = h u^(1 / alpha)`` and h from Gamma(alpha + 1)."""
    h = torch.distributions.Gamma(torch.tensor(alpha + 1, dtype=torch.float64), 1.0).sample((2, n)).log()
    u = torch.rand(2, n, dtype=torch.float64).clamp(min=torch.finfo(torch.float64).tiny).log()
    return (h[0] - h[1] + (u[0] - u[1]) / alpha).sigmoid().to(torch.get_default_dtype())


def partner_of(
    images: Tensor, target: Tensor, partner: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """The partner that was given, else the same batch in random order.

    Raises:
        InputError: the partner's images are of another shape.

    Example:
        >>> images, target = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 2])
        >>> partner_of(images, target, None)[1].sort().values
        tensor([0, 1, 2])
    """
    if partner is None:
        order = beside(images, torch.randperm(len(images)))
        return images[order], target[order]
    if partner[0].shape != images.shape:
        raise InputError(
            f"partner images must be {list(images.shape)}, got {list(partner[0].shape)}; "
            "draw one partner for each image"
        )
    return partner


def interpolate(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """``share * first + (1 - share) * second``, along the first dimension.

    Args:
        first: floating point [N, ...].
        second: the same shape.
        share: [1] or [N] float32, in [0, 1].

    Raises:
        InputError: values are not floating point.

    Example:
        >>> interpolate(torch.tensor([[1.0], [1.0]]), torch.tensor([[0.0], [5.0]]), torch.tensor([0.75]))
        tensor([[0.7500],
                [2.0000]])
    """
    if not first.is_floating_point():
        raise InputError(
            f"images must be floating point to be mixed, got {first.dtype}; normalise them first"
        )
    wide = torch.promote_types(first.dtype, torch.float32)
    weight = share.to(wide).view(-1, *[1] * (first.ndim - 1))
    return torch.lerp(second.to(wide), first.to(wide), weight).to(first.dtype)


def paste(images: Tensor, patches: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Replace a rectangle that holds ``1 - share`` of the area before clipping.

    Args:
        images: [N, C, H, W].
        patches: the same shape; where the rectangle's content comes from.
        share: [1], one place for all, or [N].

    Returns:
        The images and the share of pixels that were kept, counted after clipping, as ``share``.

    Example:
        >>> pasted, kept = paste(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.tensor([0.5]))
        >>> bool(pasted.sum() == 16 * (1 - kept))
        True
    """
    height, width = images.shape[-2:]
    side = (1 - share).sqrt()
    half = torch.stack([(side * height).long() // 2, (side * width).long() // 2], 1)
    box, kept = random_boxes(half, height, width)
    return torch.where(box, patches, images), kept
