"""What a step needs, kept together."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from tailgrad.distributed import as_one_process, for_averaging, rows_of_all
from tailgrad.engine.compiled import Compiled
from tailgrad.engine.examples import Examples
from tailgrad.engine.schedule import Schedule
from tailgrad.losses.each import loss_or_each
from tailgrad.types import Batch, Inputs, Output

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Transform = Callable[[Tensor], Tensor]
Pair = tuple[Tensor, Tensor]


class Mixer(Protocol):
    """Mixes the images of a batch and their targets (``tailgrad.augment``)."""

    def __call__(self, images: Tensor, target: Tensor, partner: Pair | None = None) -> Pair:
        """Images [N, 3, H, W] and probabilities [N, K] of images and class indices [N]."""
        ...


class Objective(Protocol):
    """What is minimised: a loss of examples, reduced or one an example."""

    def __call__(self, learner: "Learner", examples: Examples) -> Tensor:
        """The loss."""
        ...


def plain_objective(learner: "Learner", examples: Examples) -> Tensor:
    """The learner's loss of the examples, and nothing besides.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> y = torch.tensor([0, 1])
        >>> learner = Learner.plain(net, nn.CrossEntropyLoss(reduction="none"), lr=0.1)
        >>> plain_objective(learner, Examples(torch.zeros(2, 3, 2, 2), y, y)).shape
        torch.Size([2])
    """
    return learner.loss_of(examples.images, examples.target)


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
        augment_bytes: transform of training batches before ``prepare``.
        mix: what mixes images and targets of a training batch, or None.
        views: stored uint8 images -> views of them [V, N, 3, H, W], still bytes, or None.
        objective: what a step minimises.
        still: modules kept in evaluation mode while the rest trains.
        compiled: compiled code of the network's modules for training batches, or None.
        epoch: the epoch in progress, counted from 1; the loop sets it.
        epochs: how many there will be.

    Example:
        >>> import torch
        >>> from lightning.fabric import Fabric
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> learner.images(torch.zeros(1, 3, 2, 2)).shape
        torch.Size([1, 3, 2, 2])
    """

    fabric: "Fabric"
    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    prepare: Transform
    augment: Transform
    channels_last: bool = False
    augment_bytes: Transform | None = None
    mix: Mixer | None = None
    views: Transform | None = None
    objective: Objective = plain_objective
    still: tuple[nn.Module, ...] = ()
    compiled: Compiled | None = None
    epoch: int = 1
    epochs: int = 1

    @classmethod
    def plain(cls, model: nn.Module, loss: nn.Module, lr: float) -> "Learner":
        """A float32 CPU learner with SGD, no schedule and no transforms: for trials and tests."""
        from lightning.fabric import Fabric

        fabric = Fabric(accelerator="cpu", devices=1)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        module, stepper = fabric.setup(model, optimizer)
        return cls(fabric, module, loss, stepper, Schedule(), lambda x: x.float(), lambda x: x)

    @property
    def network(self) -> nn.Module:
        """The model itself, without what Fabric wraps around it."""
        return cast("nn.Module", getattr(self.model, "module", self.model))

    def direct(self) -> "Learner":
        """The same learner running the network itself, as it is written, under the learner's precision.

        For optimisers that differentiate by themselves: what Fabric wraps around the network insists on
        ``fabric.backward``, and under several processes such optimisers merge gradients themselves.
        """
        return replace(self, model=_Direct(self.fabric, self.network), compiled=None)

    def images(self, inputs: Inputs) -> Tensor:
        """Prepared images on the device, in the model's memory layout."""
        return _laid_out(self.prepare(self.fabric.to_device(inputs)), self.channels_last)

    def examples(self, batch: Batch) -> Examples:
        """A training batch on the device, augmented, and mixed where the learner mixes."""
        images, labels = self._drawn(batch)
        partner = None if batch.partner is None else self._drawn(batch.partner)
        views = None if self.views is None else self._seen_again(batch.inputs)
        target = labels
        if self.mix is not None:
            images, target = self.mix(images, labels, partner)
        return Examples(images, target, labels, views, partner)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the loss, with all it carries, and the mixing which epoch begins; switch to training mode."""
        self.epoch, self.epochs = epoch, epochs
        for part in (*self.loss.modules(), self.mix):
            if callable(set_epoch := getattr(part, "set_epoch", None)):
                set_epoch(epoch)
        self.model.train()
        for module in self.still:
            module.eval()

    def loss_of(self, images: Tensor, target: Tensor) -> Tensor:
        """The loss of prepared images, reading the part of the output that the loss takes."""
        takes = getattr(self.loss, "takes", "logits")
        if takes != "logits":
            return self.loss_at(getattr(self.outputs(images), takes), self.fabric.to_device(target))
        with self._running(images):
            seen = self.model(images)
        return self.loss_at(seen, self.fabric.to_device(target))

    def outputs(self, images: Tensor) -> Output:
        """All that the model computes of prepared images, in float32 or wider, under the learner's precision.

        Fabric's wrapper enters autocast around ``forward`` alone.
        """
        outputs = cast("Callable[[Tensor], Output]", self.model.outputs)
        with self.fabric.autocast(), self._running(images):
            output = outputs(images)
        experts = None if output.experts is None else _wide(output.experts)
        return Output(_wide(output.logits), _wide(output.features), experts)

    def loss_at(self, seen: Tensor, target: Tensor) -> Tensor:
        """The loss of what it takes; where it is one an example, their mean is the loss's own mean.

        Where ranks share a batch, the loss sees all of it on each: sums over classes, weights to divide by
        and accumulated state are those of one process. One number an example is that of this rank's own.

        Args:
            seen: logits or features [N, ...], those of experts [E, N, K].
            target: class indices [N] or probabilities [N, K].
        """
        examples = seen.ndim - 2 if seen.ndim > 2 else 0
        everyone, own = rows_of_all(seen.movedim(examples, 0))
        targets, _ = rows_of_all(target)
        with as_one_process():
            value = loss_or_each(self.loss, everyone.movedim(0, examples), targets)
            if value.ndim:
                return value[own]
        for_averaging(everyone)
        return value

    def _running(self, images: Tensor) -> AbstractContextManager[None]:
        return nullcontext() if self.compiled is None else self.compiled.running(images)

    def _drawn(self, batch: Batch) -> Pair:
        inputs = self.fabric.to_device(batch.inputs)
        if self.augment_bytes is not None:
            inputs = self.augment_bytes(inputs)
        images = self.augment(self.prepare(inputs))  # laid out once, after all that may undo it
        return _laid_out(images, self.channels_last), self.fabric.to_device(batch.target)

    def _seen_again(self, inputs: Inputs) -> Tensor:
        seen = cast("Transform", self.views)(self.fabric.to_device(inputs))
        return self.images(seen.flatten(0, 1)).view(seen.shape)


def _laid_out(images: Tensor, channels_last: bool) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if channels_last else images


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


class _Direct(nn.Module):
    def __init__(self, fabric: "Fabric", network: nn.Module) -> None:
        super().__init__()
        self.fabric, self.module = fabric, network

    def forward(self, images: Tensor) -> Tensor:
        with self.fabric.autocast():
            logits: Tensor = self.module(images)
        return _wide(logits)

    def outputs(self, images: Tensor) -> Any:
        with self.fabric.autocast():
            return self.module.outputs(images)  # type: ignore[operator]  # a method, which stubs do not know

    def mixed(self, images: Tensor, others: Tensor, weight: float) -> Any:
        with self.fabric.autocast():
            return self.module.mixed(images, others, weight)  # type: ignore[operator]  # as above
