"""CMO: patches of rare classes pasted into ordinary images."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.mixing import (
    count_classes,
    draw_share,
    interpolate,
    partner_of,
    paste,
    probabilities,
)
from tailgrad.checks import InputError, in_range


class CMO:
    """Paste a rectangle of the partner (foreground) into the batch (background), as CutMix does.

    The partner is drawn with weights ``1 / n_k^a`` by its sampler, so that rare objects appear in the rich
    contexts of common ones. ``l ~ Beta(alpha, alpha)``; targets are mixed by the pixels kept.

    Args:
        class_counts: training examples of each class; their number is K.
        probability: share of batches that are mixed.
        alpha: of the Beta distribution, 0 (no mixing) or more.
        rest: first and last epochs without mixing; fewer where training is too short for both.
        epochs: length of training; None for no rest at its end.
        per_example: draw a rectangle for every image; by default one for the batch.

    Raises:
        InputError: an argument is outside its range, there is no partner, or a target does not fit.

    Until ``set_epoch`` is called there is no rest.

    Source: Park et al., arXiv 2112.00412, with the authors' constants. Deviation: their loop
    compares epochs counted from 0 strictly, so that its first rest lasts one epoch more.

    Example:
        >>> partner = (torch.ones(2, 3, 8, 8), torch.tensor([1, 1]))
        >>> images, target = CMO([5, 1])(torch.zeros(2, 3, 8, 8), torch.tensor([0, 0]), partner)
        >>> bool(torch.allclose(images.mean((1, 2, 3)), target[:, 1]))
        True
    """

    kind: ClassVar[str] = "mixer"
    mixes: ClassVar[bool] = True
    needs_partner: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        probability: float = 0.5,
        alpha: float = 1.0,
        rest: int = 3,
        epochs: int | None = None,
        per_example: bool = False,
    ) -> None:
        self.num_classes = count_classes(class_counts)
        self.probability = in_range("probability", probability, 0, 1)
        self.alpha, self.per_example = in_range("alpha", alpha, 0), per_example
        self.rest, self.epochs = int(in_range("rest", rest, 0)), epochs
        if epochs is not None:
            self.rest = min(self.rest, (int(in_range("epochs", epochs, 1)) - 1) // 2)
        self.resting = False

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch begins, counted from 1."""
        last = float("inf") if self.epochs is None else self.epochs - self.rest
        self.resting = not self.rest < epoch <= last

    def __call__(
        self, images: Tensor, target: Tensor, partner: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Paste the partner's pixels into images [N, C, H, W]; targets become [N, K].

        Args:
            images: the background, of any type.
            target: class indices [N] or probabilities [N, K].
            partner: as many foreground images and targets.
        """
        if partner is None:
            raise InputError(
                "partner must be images and targets from a sampler that prefers rare classes, got None; "
                "draw pairs or use CutMix"
            )
        others, other = partner_of(images, target, partner)
        rows = probabilities(target, self.num_classes)
        if self.resting or torch.rand(()) >= self.probability:
            return images, rows
        share = draw_share(self.alpha, images, per_example=self.per_example)
        pasted, kept = paste(images, others, share)
        return pasted, interpolate(rows, probabilities(other, self.num_classes), kept)
