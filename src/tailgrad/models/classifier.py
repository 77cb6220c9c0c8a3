"""A backbone and a head joined."""

from torch import Tensor, nn

from tailgrad.models.backbone import Backbone
from tailgrad.models.fit_images import fit_images
from tailgrad.types import Inputs, Output


class Classifier(nn.Module):
    """Images, or rows of a table, to logits: ``head(backbone(images))``.

    A head that takes ``"pooled"`` features receives ``backbone.pool(map)``; one that takes ``"map"``
    receives the map itself where the backbone has a 2-D grid, else the pooled vector too. A head without
    the attribute ``takes`` (a plain ``nn.Linear``) counts as ``"pooled"``. Images under 32 pixels on a side
    are enlarged by a whole factor, and images of another size than a backbone's fixed one are resized
    (``fit_images``); rows of a table stay as they are. Where a head embeds the pooled features first
    (``embed``, then ``classify``), its embedded features are those of an ``Output``.

    Args:
        backbone: from images [N, 3, H, W] (or rows of a table) to features [N, C, *spatial].
        head: from features to logits [N, K], built for the width it receives.

    Example:
        >>> import torch
        >>> from tailgrad.heads import CSBA
        >>> from tailgrad.models import CifarResNet
        >>> model = Classifier(CifarResNet(blocks=1), CSBA(64, num_classes=6))
        >>> model(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 6])
    """

    backbone: Backbone
    head: nn.Module

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def takes_map(self) -> bool:
        """Whether the head receives the map [N, C, H, W] rather than the pooled vector."""
        return self.backbone.grid and getattr(self.head, "takes", "pooled") == "map"

    def fitted(self, images: Inputs) -> Inputs:
        """Images at a size that the backbone can use; rows of a table as they are."""
        if getattr(self.backbone, "takes", "images") == "table":
            return images
        return fit_images(images, self.backbone.input_size)

    def features(self, images: Inputs) -> Tensor:
        """The backbone's features [N, C, *spatial] of images [N, 3, H, W]."""
        features: Tensor = self.backbone(self.fitted(images))
        return features

    def forward(self, images: Inputs) -> Tensor:
        """Logits [N, K] of images [N, 3, H, W]."""
        features = self.features(images)
        logits: Tensor = self.head(features if self.takes_map else self.backbone.pool(features))
        return logits

    def outputs(self, images: Inputs) -> Output:
        """Logits and pooled (or embedded) features [N, D] of images [N, 3, H, W]."""
        features = self.features(images)
        pooled = self.backbone.pool(features)
        if callable(embed := getattr(self.head, "embed", None)):
            embedded = embed(pooled)
            return Output(self.head.classify(embedded), embedded)  # type: ignore[operator]  # comes with embed
        return Output(self.head(features if self.takes_map else pooled), pooled)
