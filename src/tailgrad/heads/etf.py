"""A classifier that never learns: the corners of a simplex."""

import logging
import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import in_range
from tailgrad.heads.options import check_sizes
from tailgrad.heads.pooling import check_features, mean_positions
from tailgrad.precision import full_precision

logger = logging.getLogger("tailgrad")


def simplex(channels: int, num_classes: int, seed: int = 0) -> Tensor:
    """Class vectors [D, K]: ``sqrt(K / (K-1)) P (I - 11'/K)`` with P [D, K] orthonormal and random.

    With D of K - 1 or more the columns have length 1 and cosine ``-1 / (K-1)`` to one another. Fewer
    dimensions hold no such K vectors: then P has orthonormal rows, orthogonal to the ones, which is the same
    as a fixed projection of the features into K dimensions first. The columns still sum to 0.

    Args:
        channels: D, at least 1.
        num_classes: K, at least 2.
        seed: of P.

    Example:
        >>> vectors = simplex(8, 4)
        >>> torch.round(vectors.T @ vectors, decimals=4)[0].abs()
        tensor([1.0000, 0.3333, 0.3333, 0.3333])
    """
    draws = torch.randn(num_classes, channels, generator=torch.Generator().manual_seed(seed)).double()
    if channels < num_classes:
        basis = torch.linalg.qr(draws - draws.mean(0))[0].T
    else:
        basis = torch.linalg.qr(draws.T)[0]
    centred: Tensor = basis - basis.mean(1, keepdim=True)
    return (math.sqrt(num_classes / (num_classes - 1)) * centred).float()


class ETF(nn.Module):
    """``z_k = s <h, m_k>`` with fixed class vectors m_k, the corners of a simplex; h are embedded features.

    Args:
        channels: width D of the pooled features, at least 1.
        num_classes: K, at least 2.
        scale: s, above 0.
        seed: of the vectors' random rotation.
        batch_norm: h is a batch normalisation of the pooled features; without it h is the features and the
            head learns nothing. A training batch of one example uses the running statistics.

    Raises:
        InputError: a size or the scale is outside its range, or features of another width arrive.

    Attributes:
        vectors: the class vectors M [D, K], for ``DotRegressionLoss``; saved with the weights.
        projected: whether D is below K - 1. No K vectors with equal angles exist then: features pass through
            a fixed orthonormal projection into K dimensions first, contained in ``vectors``, whose angles
            are no longer equal. A line in the log says so.

    The normalisation matters: rectified features have no negative entry and can never be parallel to vectors
    that sum to zero.

    Source: Yang et al. 2022, "Do we really need a learnable classifier", official code: ``M = sqrt(K/(K-1)) P
    (I - 11'/K)``, features after BatchNorm. The projection for D < K is ours.

    Example:
        >>> head = ETF(16, 4)
        >>> head(torch.randn(5, 16)).shape, head.vectors.shape, head.projected
        (torch.Size([5, 4]), torch.Size([16, 4]), False)
    """

    takes: ClassVar[str] = "pooled"
    vectors: Tensor

    def __init__(
        self, channels: int, num_classes: int, *, scale: float = 1.0, seed: int = 0, batch_norm: bool = True
    ) -> None:
        check_sizes(channels, num_classes)
        super().__init__()
        self.channels = channels
        self.scale = in_range("scale", scale, 0, exclusive=True)
        self.norm = nn.BatchNorm1d(channels) if batch_norm else None
        self.register_buffer("vectors", simplex(channels, num_classes, seed))
        self.projected = channels < num_classes - 1
        if self.projected:
            logger.info(
                "etf: %d channels hold no simplex of %d classes; features are projected",
                channels,
                num_classes,
            )

    def embed(self, features: Tensor) -> Tensor:
        """The features h [N, D] that the class vectors meet, of pooled features [N, D] or a map."""
        check_features(features, self.channels)
        pooled = mean_positions(features)
        if self.norm is None:
            return pooled.to(torch.promote_types(self.vectors.dtype, torch.float32))
        with full_precision(features):
            return self._normalised(self.norm, pooled)

    def _normalised(self, norm: nn.BatchNorm1d, pooled: Tensor) -> Tensor:
        pooled = pooled.to(norm.weight.dtype)
        if self.training and len(pooled) == 1:
            found = F.batch_norm(
                pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        else:
            found = norm(pooled)
        return found.to(torch.promote_types(found.dtype, torch.float32))

    def classify(self, embedded: Tensor) -> Tensor:
        """Logits [N, K] of embedded features [N, D]."""
        with full_precision(embedded):
            return self.scale * (embedded @ self.vectors.to(embedded.dtype))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of pooled features [N, D]."""
        return self.classify(self.embed(features))
