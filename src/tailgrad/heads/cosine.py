"""The classifier on angles alone."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes
from tailgrad.heads.pooling import check_features, mean_positions
from tailgrad.heads.unit import unit
from tailgrad.precision import full_precision


class Cosine(nn.Linear):
    """``z_k = s cos(w_k, g)``: class weights and pooled features both of length one, no bias.

    Args:
        channels: width D of the pooled features, at least 1.
        num_classes: K, at least 2.
        scale: s, above 0.
        learn_scale: train s too, from this start.

    Raises:
        InputError: a size or the scale is outside its range, or features of another width arrive.

    A map or tokens are averaged over positions first. Features that are all zero give logits of 0. Logits lie
    in [-s, s], as ``LDAMLoss`` wants them; inference uses them as they are.

    Source: LDAM-DRW (official code), whose scale is 30 there in the loss; here the head carries it.

    Example:
        >>> head = Cosine(8, 3)
        >>> bool(head(1e3 * torch.randn(2, 8)).abs().max() <= 30.001)
        True
    """

    takes: ClassVar[str] = "pooled"
    scale: Tensor

    def __init__(
        self, channels: int, num_classes: int, *, scale: float = 30.0, learn_scale: bool = False
    ) -> None:
        check_sizes(channels, num_classes)
        in_range("scale", scale, 0, exclusive=True)
        super().__init__(channels, num_classes, bias=False)
        kaiming_uniform(self)
        start = torch.tensor(float(scale))
        if learn_scale:
            self.scale = nn.Parameter(start)
        else:
            self.register_buffer("scale", start)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of pooled features [N, D]."""
        check_features(features, self.in_features)
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        with full_precision(features):
            pooled = mean_positions(features).to(dtype)
            return self.scale.to(dtype) * nn.functional.linear(unit(pooled), unit(self.weight.to(dtype)))
