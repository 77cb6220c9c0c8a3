"""Mixup: interpolated pairs of images and labels."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from tailgrad.augment.mixing import count_classes, draw_share, interpolate, partner_of, probabilities
from tailgrad.checks import in_range


class Mixup:
    """``x = l x_a + (1 - l) x_b`` and the same for the targets, ``l ~ Beta(alpha, alpha)``.

    Args:
        class_counts: training examples of each class; their number is K.
        alpha: of the Beta distribution, 0 (no mixing) or more.
        per_example: draw l for every image; by default once for the batch.

    Raises:
        InputError: no counts, a negative ``alpha``, images of bytes, or a target that does not fit.

    Source: Zhang et al., arXiv 1710.09412; alpha 1 is usual on CIFAR-LT.

    Example:
        >>> import torch
        >>> images, target = Mixup([5, 5])(torch.ones(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))
        >>> target.sum(1)
        tensor([1., 1., 1., 1.])
    """

    kind: ClassVar[str] = "mixer"
    mixes: ClassVar[bool] = True
    needs_partner: ClassVar[bool] = False

    def __init__(
        self, class_counts: Sequence[int] | None = None, *, alpha: float = 1.0, per_example: bool = False
    ) -> None:
        self.num_classes = count_classes(class_counts)
        self.alpha, self.per_example = in_range("alpha", alpha, 0), per_example

    def __call__(
        self, images: Tensor, target: Tensor, partner: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix images [N, ...] with the partner's, or with one another; targets become [N, K].

        Args:
            images: floating point.
            target: class indices [N] or probabilities [N, K].
            partner: as many images and targets.
        """
        others, other = partner_of(images, target, partner)
        share = draw_share(self.alpha, images, per_example=self.per_example)
        rows, other_rows = (probabilities(each, self.num_classes) for each in (target, other))
        return interpolate(images, others, share), interpolate(rows, other_rows, share)
