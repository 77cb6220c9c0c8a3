"""What every backbone offers, whatever network stands behind it."""

from typing import Any, Protocol

from torch import Tensor


class Backbone(Protocol):
    """An ``nn.Module`` from images to features, with the facts that heads and instruments need.

    A backbone for tables or feature vectors says ``takes = "table"``, gives vectors [N, C] (``grid`` False)
    and is called with ``TableInputs`` or [N, F].

    Attributes:
        channels: C, width of the features that a call returns.
        pooled: D, width of what ``pool`` returns.
        grid: whether the features are a map [N, C, H, W]; else tokens [N, C, L] or a vector [N, C].
        stages: names of submodules, in order, that together hold every layer.
        input_size: the one (height, width) that fits, or None where any size does.

    Example:
        >>> from tailgrad.models import TriPath
        >>> backbone: Backbone = TriPath()
        >>> backbone.channels, backbone.pooled, backbone.grid
        (768, 768, True)
    """

    channels: int
    pooled: int
    grid: bool
    stages: tuple[str, ...]
    input_size: tuple[int, int] | None

    def __call__(self, images: Any) -> Any:
        """Features [N, C, *spatial] of images [N, 3, H, W]."""
        ...

    def pool(self, features: Tensor) -> Tensor:
        """Pooled features [N, D]: what a linear classifier on this backbone receives."""
        ...
