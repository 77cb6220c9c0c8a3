"""Pooled features of a part of the data, for stages that look at nothing else."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tailgrad.engine import infer
from tailgrad.recipes.job import Job


def pooled_features(job: Job, part: str) -> tuple[Tensor, Tensor]:
    """Pooled features [N, D] of a part, without augmentation, and classes [N], on the CPU.

    Example: see ``run_stages``.
    """
    without = replace(job.learner, model=Pooled(job.learner.direct().model))
    features, target, _ = infer(without, job.ready.loader(part, 2 * job.config.train.batch_size))
    return features, target


class Pooled(nn.Module):
    """A classifier that stops at its pooled features.

    Args:
        model: has ``outputs``.

    Example:
        >>> import torch
        >>> from tailgrad.models import create_model
        >>> Pooled(create_model("resnet32", 4))(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 64])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D] of images [N, 3, H, W]."""
        outputs: Any = self.model.outputs
        features: Tensor = outputs(images).features
        return features
