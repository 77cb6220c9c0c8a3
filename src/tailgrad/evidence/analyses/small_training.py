"""Small networks on vectors: made by seed, trained step by step, judged class by class."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from tailgrad.evidence.analyses.small_sets import Part
from tailgrad.optim import SAM
from tailgrad.samplers.epoch_sampler import EpochSampler

Loss = Callable[[Tensor, Tensor], Tensor]
"""logits [N, K] and class indices [N] -> losses [N]"""
WORST = 1e6
"""Stands for a loss that is not finite, which JSON cannot hold."""


def small_network(inputs: int, classes: int, *, width: int, seed: int) -> nn.Sequential:
    """``inputs -> width -> classes`` with ReLU, drawn from the seed; the caller's random state stays.

    Example:
        >>> sum(p.numel() for p in small_network(64, 10, width=32, seed=0).parameters())
        2410
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes))


def plain_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each example [N]."""
    return F.cross_entropy(logits, target, reduction="none")


def balanced_losses(counts: Sequence[int]) -> Loss:
    """Cross-entropy times ``N / (K n_y)``: every class counts the same in the mean.

    Example:
        >>> balanced_losses((3, 1))(torch.zeros(2, 2), torch.tensor([0, 1])).round(decimals=3)
        tensor([0.4620, 1.3860])
    """
    weights = sum(counts) / (len(counts) * torch.tensor(counts, dtype=torch.float32))
    return lambda logits, target: weights[target] * plain_losses(logits, target)


def drawn(part: Part, sampler: EpochSampler, size: int, steps: int) -> Iterator[Part]:
    """Batches as a training loader draws them, epoch after epoch; an epoch's last one may be smaller.

    Args:
        part: examples.
        sampler: of their positions; its epoch is set from 1 on.
        size: of a batch.
        steps: number of batches.

    Example:
        >>> from tailgrad.samplers import InstanceSampler
        >>> part = Part(torch.zeros(5, 1), torch.tensor([0, 0, 0, 1, 1]))
        >>> [len(batch) for batch in drawn(part, InstanceSampler(part.target), 2, 4)]
        [2, 2, 1, 2]
    """
    epoch, done = 1, 0
    while True:
        sampler.set_epoch(epoch)
        for index in torch.split(torch.tensor(list(sampler)), size):
            if done == steps:
                return
            yield part.some(index)
            done += 1
        epoch += 1


def fit(model: nn.Module, batches: Iterator[Part], optimizer: Optimizer, loss: Loss = plain_losses) -> None:
    """One step a batch on the mean of its losses, with an ordinary optimiser.

    Example:
        >>> net = small_network(2, 2, width=3, seed=0)
        >>> part = Part(torch.eye(2), torch.arange(2))
        >>> before = class_losses(net, part, 2).sum()
        >>> fit(net, iter([part] * 20), torch.optim.SGD(net.parameters(), lr=0.5))
        >>> bool(class_losses(net, part, 2).sum() < before)
        True
    """
    for batch in batches:
        optimizer.zero_grad()
        loss(model(batch.inputs), batch.target).mean().backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()


def fit_by_closure(
    model: nn.Module, batches: Iterator[Part], optimizer: SAM, loss: Loss = plain_losses
) -> None:
    """The same with an optimiser that asks for (losses [N], target [N])."""

    def losses_of(batch: Part) -> tuple[Tensor, Tensor]:
        return loss(model(batch.inputs), batch.target), batch.target

    for batch in batches:
        optimizer.step(partial(losses_of, batch))


@torch.no_grad()
def class_losses(model: nn.Module, part: Part, num_classes: int) -> Tensor:
    """Mean cross-entropy of each class [K], float64; ``WORST`` where it is not finite.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> _ = net.weight.data.zero_(), net.bias.data.zero_()
        >>> class_losses(net, Part(torch.eye(2), torch.arange(2)), 2)
        tensor([0.6931, 0.6931], dtype=torch.float64)
    """
    losses = plain_losses(model(part.inputs), part.target).double()
    return torch.nan_to_num(by_class(losses, part.target, num_classes), WORST, WORST).clamp(max=WORST)


@torch.no_grad()
def class_recalls(model: nn.Module, part: Part, num_classes: int) -> Tensor:
    """Share of each class that is recognised [K]."""
    right = model(part.inputs).argmax(1) == part.target
    return by_class(right.double(), part.target, num_classes)


def by_class(values: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Mean of the values [N] over each class [K].

    Example:
        >>> by_class(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 1]), 2)
        tensor([1., 3.])
    """
    sums = torch.zeros(num_classes, dtype=values.dtype).index_add_(0, target, values)
    return sums / target.bincount(minlength=num_classes)


def mean_of(values: Sequence[float] | Tensor, classes: Sequence[int]) -> float:
    """Mean over some classes.

    Example:
        >>> mean_of([1.0, 2.0, 6.0], (1, 2))
        4.0
    """
    return sum(float(values[k]) for k in classes) / len(classes)
