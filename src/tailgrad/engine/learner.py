"""What a step needs, kept together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from tailgrad.engine.schedule import Schedule

Transform = Callable[[Tensor], Tensor]


@dataclass
class Learner:
    """A model with everything that trains it.

    Args:
        fabric: device, precision and launcher.
        model: images [N, 3, H, W] -> logits [N, K], already set up by ``fabric``; it has ``outputs`` where
            the loss takes features or experts.
        loss: ``loss(x, target)`` with ``takes`` naming the part of the output it reads.
        optimizer: a PyTorch optimiser, already set up by ``fabric``.
        schedule: learning-rate factor over epochs.
        prepare: stored uint8 images -> normalised floating point.
        augment: transform of prepared training batches.
        channels_last: memory layout given to the model.

    Example:
        >>> import torch
        >>> from lightning.fabric import Fabric
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> learner.images(torch.zeros(1, 3, 2, 2)).shape
        torch.Size([1, 3, 2, 2])
    """

    fabric: Fabric
    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    prepare: Transform
    augment: Transform
    channels_last: bool = False

    @classmethod
    def plain(cls, model: nn.Module, loss: nn.Module, lr: float) -> "Learner":
        """A float32 CPU learner with SGD, no schedule and no transforms: for trials and tests."""
        fabric = Fabric(accelerator="cpu", devices=1)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        module, stepper = fabric.setup(model, optimizer)
        return cls(fabric, module, loss, stepper, Schedule(), lambda x: x.float(), lambda x: x)

    @property
    def network(self) -> nn.Module:
        """The model itself, without what Fabric wraps around it."""
        return cast("nn.Module", getattr(self.model, "module", self.model))

    def images(self, inputs: Tensor) -> Tensor:
        """Prepared images on the device, in the model's memory layout."""
        images = self.prepare(self.fabric.to_device(inputs))
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def loss_of(self, images: Tensor, target: Tensor) -> Tensor:
        """The loss of prepared images, reading the part of the output that the loss takes."""
        takes = getattr(self.loss, "takes", "logits")
        outputs = cast("Callable[[Tensor], object]", getattr(self.model, "outputs", None))
        seen = self.model(images) if takes == "logits" else getattr(outputs(images), takes)
        value: Tensor = self.loss(seen, self.fabric.to_device(target))
        return value
