"""CutMix: a rectangle of one image pasted into another."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from tailgrad.augment.mixing import (
    count_classes,
    draw_share,
    interpolate,
    partner_of,
    paste,
    probabilities,
)
from tailgrad.checks import in_range


class CutMix:
    """Paste a rectangle of area ``1 - l``, ``l ~ Beta(alpha, alpha)``; mix targets by the pixels kept.

    The rectangle's centre is uniform over the pixels and the rectangle is clipped at the border, so the share
    l of the targets is counted again afterwards.

    Args:
        class_counts: training examples of each class; their number is K.
        alpha: of the Beta distribution, 0 (no mixing) or more.
        per_example: draw a rectangle for every image; by default one for the batch.

    Raises:
        InputError: no counts, a negative ``alpha``, or a target that does not fit.

    Source: Yun et al., arXiv 1905.04899, with the rectangle of the authors' code.

    Example:
        >>> import torch
        >>> images, target = CutMix([5, 5])(torch.ones(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))
        >>> target.shape
        torch.Size([4, 2])
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
        """Paste the partner's pixels, or one another's, into images [N, C, H, W]; targets become [N, K].

        Args:
            images: of any type.
            target: class indices [N] or probabilities [N, K].
            partner: as many images and targets.
        """
        others, other = partner_of(images, target, partner)
        share = draw_share(self.alpha, images, per_example=self.per_example)
        pasted, kept = paste(images, others, share)
        rows, other_rows = (probabilities(each, self.num_classes) for each in (target, other))
        return pasted, interpolate(rows, other_rows, kept)
