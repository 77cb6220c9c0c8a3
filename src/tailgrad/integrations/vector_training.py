"""Training a network on vectors that are in memory."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.integrations.vector_parts import Parts
from tailgrad.losses import frozen
from tailgrad.losses.each import each_of_mean
from tailgrad.optim import SAM, AsymmetricSAM
from tailgrad.optim.asymmetric_sam import VARIANTS

OPTIMIZERS = ("adamw", "sgd", *VARIANTS)
Step = Callable[[Tensor, Tensor], Tensor]
Examples = tuple[Tensor, Tensor]
"""Vectors [N, F] and class indices [N]."""


@dataclass(frozen=True)
class Course:
    """How a network is trained.

    Args:
        epochs: most epochs.
        batch_size: examples a step.
        learning_rate: of the optimiser.
        weight_decay: of the optimiser.
        optimizer: ``"adamw"``, ``"sgd"`` (momentum 0.9), or a variant of ``AsymmetricSAM`` around AdamW.
        rho: its radius; None is the variant's published one.
        patience: epochs without a smaller validation loss after which to stop; None trains to the end.
        seed: of the shuffle.
        say: told one line an epoch.

    Example:
        >>> Course().epochs
        100
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    rho: float | None = None
    patience: int | None = None
    seed: int = 0
    say: Callable[[str], Any] = lambda _: None


@dataclass
class Curves:
    """What training came to.

    Args:
        training: mean loss of each epoch.
        validation: loss of the held-out examples after each epoch, where there are some.
        best_epoch: the epoch whose weights are kept, from 1.

    Example:
        >>> Curves().best_epoch
        0
    """

    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, PyTorch draws from ``seed``; afterwards its generators are as they were.

    Example:
        >>> before = torch.random.get_rng_state()
        >>> with seeded(1, torch.device("cpu")):
        ...     one = torch.rand(1)
        >>> torch.equal(before, torch.random.get_rng_state())
        True
    """
    others = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(others):
        torch.default_generator.manual_seed(seed)
        if others:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def train(
    network: nn.Module, parts: Parts, examples: Examples, held_out: Examples | None, course: Course
) -> Curves:
    """Train in place; with ``patience`` the weights of the best epoch are put back.

    Args:
        network: vectors [n, F] to logits [n, K].
        parts: loss (reduction ``"none"`` for SAM) and sampler.
        examples: to train on.
        held_out: whose loss is watched, or None.
        course: how.

    Raises:
        InputError: the loss is not finite any more.

    Example: see ``TailgradClassifier``.
    """
    step = _stepper(network, parts, course)
    shuffle = torch.Generator().manual_seed(course.seed)
    curves, best = Curves(), copy.deepcopy(network.state_dict())
    for epoch in range(1, course.epochs + 1):
        curves.training.append(
            _epoch(network, step, examples, _order(parts, examples, epoch, shuffle), course)
        )
        _tell(curves, epoch, network, parts.loss, held_out, course)
        if course.patience is None:
            curves.best_epoch = epoch
            continue
        if curves.validation[-1] < min(curves.validation[:-1], default=math.inf):
            curves.best_epoch, best = epoch, copy.deepcopy(network.state_dict())
        if epoch - curves.best_epoch >= course.patience:
            break
    if course.patience is not None:
        network.load_state_dict(best)
    network.eval()
    return curves


def _stepper(network: nn.Module, parts: Parts, course: Course) -> Step:
    rate, decay = course.learning_rate, course.weight_decay
    trained = [p for p in network.parameters() if p.requires_grad]
    if course.optimizer == "sgd":
        return _plain(network, parts.loss, torch.optim.SGD(trained, rate, 0.9, weight_decay=decay))
    base = torch.optim.AdamW(trained, rate, weight_decay=decay)
    if course.optimizer == "adamw":
        return _plain(network, parts.loss, base)
    counts = parts.ledger.class_counts
    sharp = AsymmetricSAM(network, base, counts, rho=course.rho, variant=course.optimizer)
    return _sharp(network, parts.loss, sharp)


def _plain(network: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    def step(vectors: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(network(vectors), target)
        value.backward()  # type: ignore[no-untyped-call]  # of torch
        optimizer.step()
        return value.detach()

    return step


def _sharp(network: nn.Module, loss: nn.Module, optimizer: SAM) -> Step:
    def step(vectors: Tensor, target: Tensor) -> Tensor:
        return optimizer.step(lambda: (each_of_mean(loss, loss(network(vectors), target), target), target))

    return step


def _order(parts: Parts, examples: Examples, epoch: int, shuffle: torch.Generator) -> Tensor:
    if callable(tell := getattr(parts.loss, "set_epoch", None)):
        tell(epoch)
    if parts.sampler is None:
        return torch.randperm(len(examples[0]), generator=shuffle)
    parts.sampler.set_epoch(epoch)
    return torch.tensor(list(parts.sampler))


def _epoch(network: nn.Module, step: Step, examples: Examples, order: Tensor, course: Course) -> float:
    network.train()
    vectors, target = examples
    batches = list(torch.split(order.to(target.device), course.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # BatchNorm has no statistics of one example
        batches[-2:] = [torch.cat(batches[-2:])]
    return float(torch.stack([step(vectors[rows], target[rows]) for rows in batches]).mean())


def _tell(
    curves: Curves, epoch: int, network: nn.Module, loss: nn.Module, held_out: Examples | None, course: Course
) -> None:
    text = f"epoch {epoch}: loss {curves.training[-1]:.4g}"
    if not math.isfinite(curves.training[-1]):
        raise InputError(
            f"learning_rate must keep the loss finite, got {course.learning_rate} and a loss of "
            f"{curves.training[-1]} in epoch {epoch}; lower it, or leave standardize on"
        )
    if held_out is not None:
        curves.validation.append(_loss_of(network, loss, held_out))
        text += f", held-out loss {curves.validation[-1]:.4g}"
    course.say(text)


@torch.no_grad()
def _loss_of(network: nn.Module, loss: nn.Module, examples: Examples) -> float:
    network.eval()
    vectors, target = examples
    with frozen(loss):
        values: Tensor = loss(network(vectors), target)
    return float(each_of_mean(loss, values, target).mean() if values.ndim else values)
