"""What a step computes its loss on: one batch on the device, augmented once."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Examples:
    """A batch after augmentation and mixing; every forward pass of a step sees the same one.

    Args:
        images: [N, 3, H, W], normalised.
        target: class indices [N], or probabilities [N, K] where images were mixed.
        labels: class indices [N] as they were drawn.
        views: further views of the drawn images [V, N, 3, H, W], normalised, or None.
        partner: images and class indices drawn for the second branch of a two-branch network, or None.

    Example:
        >>> import torch
        >>> y = torch.tensor([0, 1])
        >>> Examples(torch.zeros(2, 3, 8, 8), y, y).views is None
        True
    """

    images: Tensor
    target: Tensor
    labels: Tensor
    views: Tensor | None = None
    partner: tuple[Tensor, Tensor] | None = None
