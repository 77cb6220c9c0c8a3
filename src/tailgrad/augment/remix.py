"""Remix: mixup whose labels lean to the rarer class."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.beside import beside
from tailgrad.augment.mixing import count_classes, draw_share, interpolate, partner_of, probabilities
from tailgrad.checks import InputError, in_range, positive_counts


class Remix:
    """Mix images as mixup does; give the whole label to the rarer class where the ratio is large enough.

    With ``l ~ Beta(alpha, alpha)`` for the images, classes i of the image and j of its partner, the share of
    label i is 0 if ``n_i / n_j >= kappa`` and ``l < tau``; 1 if ``n_i / n_j <= 1 / kappa`` and
    ``1 - l < tau``; else l.

    Args:
        class_counts: training examples of each class, each at least 1.
        alpha: of the Beta distribution, 0 (no mixing) or more.
        kappa: ratio of counts from which the rarer class may take the label, 1 or more.
        tau: share of the other image below which it takes it, 0 to 1; 0 is mixup.
        per_example: draw l for every image; by default once for the batch.

    Raises:
        InputError: an argument is outside its range, images of bytes, or targets that are not class indices.

    Source: Chou et al., arXiv 2007.03943, as in third-party code.

    Example:
        >>> mixer = Remix([100, 10])
        >>> mixer.label_share(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.4, 0.6]))
        tensor([0., 1.])
    """

    kind: ClassVar[str] = "mixer"
    mixes: ClassVar[bool] = True
    needs_partner: ClassVar[bool] = False

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        alpha: float = 1.0,
        kappa: float = 3.0,
        tau: float = 0.5,
        per_example: bool = False,
    ) -> None:
        self.num_classes = count_classes(class_counts)
        self.counts = torch.tensor(positive_counts(class_counts or ()), dtype=torch.float32)
        self.alpha, self.per_example = in_range("alpha", alpha, 0), per_example
        self.kappa, self.tau = in_range("kappa", kappa, 1), in_range("tau", tau, 0, 1)

    def __call__(
        self, images: Tensor, target: Tensor, partner: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix images [N, ...] with the partner's, or with one another; targets become [N, K].

        Args:
            images: floating point.
            target: class indices [N].
            partner: as many images and class indices.
        """
        others, other = partner_of(images, target, partner)
        rows, other_rows = (self._one_hot(each) for each in (target, other))
        share = draw_share(self.alpha, images, per_example=self.per_example)
        labels = self.label_share(target, other, share)
        return interpolate(images, others, share), interpolate(rows, other_rows, labels)

    def label_share(self, own: Tensor, other: Tensor, share: Tensor) -> Tensor:
        """The share of each image's own label, [N].

        Args:
            own: classes of the images, [N].
            other: classes of their partners, [N].
            share: shares of the images, [N] or [1].
        """
        counts = beside(own, self.counts)
        i, j = counts[own.long()], counts[other.long()]
        kept = torch.where((i >= self.kappa * j) & (share < self.tau), 0.0, share)
        return torch.where((j >= self.kappa * i) & (1 - share < self.tau), 1.0, kept)

    def _one_hot(self, target: Tensor) -> Tensor:
        if target.is_floating_point():
            raise InputError(
                f"target must be class indices [N], got {target.dtype} {list(target.shape)}; remix weighs "
                "pairs of classes, use mixup for probabilities"
            )
        return probabilities(target, self.num_classes)
