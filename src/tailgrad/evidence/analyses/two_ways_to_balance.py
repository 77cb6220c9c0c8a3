"""Up-sampling against up-weighting: one expected gradient, two variances, two ways of training."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tailgrad.data import Profile
from tailgrad.evaluate.groups import thirds
from tailgrad.evidence.analyses.choice_by_validation import Choice, choice_table, choose
from tailgrad.evidence.analyses.small_sets import Part, SmallSet, small_set
from tailgrad.evidence.analyses.small_training import (
    balanced_losses,
    class_losses,
    class_recalls,
    drawn,
    fit,
    mean_of,
    plain_losses,
    small_network,
)
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.samplers import ClassBalancedSampler, OverSampler, PowerSampler

WAYS = ("weights", "sampling")
Cells = dict[str, list[dict[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Agreement under full gradients, variances, and the tail after mini-batch training at one rate for both.

    Settings: ``counts`` (training examples of each class, all divisors of the largest), ``rates``, ``steps``,
    ``batch``, ``width``, ``side``, ``seeds``.
    """
    seeds = lab.seeds
    lab.expect((1 + len(WAYS) * len(lab.settings["rates"])) * len(seeds))
    exact = [lab.cell(f"exact.seed-{seed}", partial(_exact, lab, seed)) for seed in seeds]
    tried = {rate: {way: _runs(lab, way, rate, seeds) for way in WAYS} for rate in lab.settings["rates"]}
    scores = {rate: [c["val_recall"] for way in WAYS for c in cells[way]] for rate, cells in tried.items()}
    choice = choose("both", scores)
    figures = {**_exact_figures(exact), **_trained_figures(tried[choice.value], choice)}
    tables = [_table(tried), choice_table([choice], "one rate for both, by mean recall of classes")]
    return Analysis(figures, tables, list(seeds))


def moments(gradients: Tensor, draw: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """Mean and total variance of ``w_i g_i`` for one example i drawn with probability ``q_i``.

    The mean over a batch of B such draws has the same mean and a B-th of the variance.

    Args:
        gradients: g_i [N, P].
        draw: q_i [N], together 1.
        weights: w_i [N].

    Example:
        >>> mean, variance = moments(torch.eye(2), torch.tensor([0.5, 0.5]), torch.ones(2))
        >>> mean, variance
        (tensor([0.5000, 0.5000]), 0.5)
    """
    mean = (draw * weights) @ gradients
    square = (draw * weights**2) @ gradients.square().sum(1)
    return mean, float(square - mean.square().sum())


def example_gradients(model: nn.Module, part: Part) -> Tensor:
    """Gradient of each example's cross-entropy [N, P], float64."""
    state = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return plain_losses(functional_call(model, dict(parameters), (x[None],)), y[None])[0]

    found = vmap(grad(loss), in_dims=(None, 0, 0))(state, part.inputs, part.target)
    return torch.cat([found[name].flatten(1) for name in state], 1).double()


def both_ways(counts: Sequence[int], target: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Probabilities and weights of every example [N] for each way; both give every class 1 / K of the sum.

    Example:
        >>> found = both_ways((3, 1), torch.tensor([0, 0, 0, 1]))
        >>> [(q * w).tolist()[-1] for q, w in found.values()]
        [0.5, 0.5]
    """
    own = torch.tensor(counts, dtype=torch.float64)[target]
    even = torch.full_like(own, 1 / len(own))
    balanced = 1 / (len(counts) * own)
    return {"weights": (even, balanced / even), "sampling": (balanced, torch.ones_like(own))}


def _data(lab: Lab, seed: int) -> tuple[SmallSet, nn.Module]:
    settings = lab.settings
    profile = Profile("explicit", counts=tuple(settings["counts"]))
    data = small_set(lab.data["images"], seed, profile=profile, side=settings["side"])
    width = data.train.inputs.shape[1]
    return data, small_network(width, data.num_classes, width=settings["width"], seed=seed)


def _exact(lab: Lab, seed: int) -> dict[str, Any]:
    """What holds without training in small batches."""
    data, net = _data(lab, seed)
    before = _moments(net, data)
    apart = _full_batches(lab, data, net, seed)
    return {
        "variance_ratio.start": before[0],
        "expected_apart.start": before[1],
        "descent_apart": apart,
        "variance_ratio.trained": _moments(net, data)[0],
    }


def _moments(net: nn.Module, data: SmallSet) -> tuple[float, float]:
    """Variance of up-weighting over that of up-sampling; distance of their means over their length."""
    gradients = example_gradients(net, data.train)
    found = {
        way: moments(gradients, *both) for way, both in both_ways(data.counts, data.train.target).items()
    }
    (weighted, wide), (sampled, narrow) = found["weights"], found["sampling"]
    return wide / narrow, float((weighted - sampled).norm() / sampled.norm())


def _full_batches(lab: Lab, data: SmallSet, net: nn.Module, seed: int) -> float:
    """Train ``net`` on whole weighted sets, a twin on up-sampled ones; largest gap of a class loss."""
    _, twin = _data(lab, seed)
    longer = data.train.some(torch.tensor(sorted(OverSampler(data.train.target))))
    rate, steps = min(lab.settings["rates"]), int(lab.settings["steps"])
    fit(
        net,
        repeat(data.train, steps),
        torch.optim.SGD(net.parameters(), lr=rate),
        balanced_losses(data.counts),
    )
    fit(twin, repeat(longer, steps), torch.optim.SGD(twin.parameters(), lr=rate))
    losses = [class_losses(model, data.train, data.num_classes) for model in (net, twin)]
    return float((losses[0] - losses[1]).abs().max())


def _runs(lab: Lab, way: str, rate: float, seeds: Sequence[int]) -> list[dict[str, Any]]:
    return [
        lab.cell(f"{way}.rate-{rate:g}.seed-{seed}", partial(_small_batches, lab, way, rate, seed))
        for seed in seeds
    ]


def _small_batches(lab: Lab, way: str, rate: float, seed: int) -> dict[str, Any]:
    data, net = _data(lab, seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    weighted = way == "weights"
    loss = balanced_losses(data.counts) if weighted else plain_losses
    fit(net, _batches(lab.settings, data.train, weighted, seed), optimizer, loss)
    tail = thirds(data.counts)["tail"]
    losses = {part: class_losses(net, getattr(data, part), data.num_classes) for part in ("train", "test")}
    return {
        "val_recall": float(class_recalls(net, data.val, data.num_classes).mean()),
        "tail_train_loss": mean_of(losses["train"], tail),
        "tail_gap": mean_of(losses["test"] - losses["train"], tail),
        "test_tail_recall": mean_of(class_recalls(net, data.test, data.num_classes), tail),
        "test_recall": float(class_recalls(net, data.test, data.num_classes).mean()),
        "extra_variance": data.extra_variance,
    }


def _batches(settings: Mapping[str, Any], train: Part, weighted: bool, seed: int) -> Iterator[Part]:
    """Both with replacement, so that nothing but the frequencies of classes differs."""
    sampler = PowerSampler(train.target, power=1.0, seed=seed) if weighted else None
    order = sampler or ClassBalancedSampler(train.target, seed=seed)
    return drawn(train, order, settings["batch"], settings["steps"])


def _exact_figures(exact: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    words = {
        "variance_ratio.start": "gradient variance of up-weighting over that of up-sampling, before training",
        "variance_ratio.trained": "the same after full-batch training",
        "expected_apart.start": "distance of the expected gradients over their length",
        "descent_apart": "largest difference of a class loss after full-batch training, nats",
    }
    return {key: Figure.over([c[key] for c in exact], what=what) for key, what in words.items()}


def _trained_figures(found: Cells, choice: Choice) -> dict[str, Figure]:
    words = {
        "tail_train_loss": ("weights", "sampling", "training loss of the tail: weights minus sampling, nats"),
        "tail_gap": ("sampling", "weights", "test minus training loss of the tail: sampling minus weights"),
        "test_tail_recall": ("sampling", "weights", "tail recall on test data: sampling minus weights"),
    }
    figures = {"at_edge": Figure.over([float(choice.at_edge)], what="whether the rate is at the edge")}
    for key, (first, second, what) in words.items():
        values = [a[key] - b[key] for a, b in zip(found[first], found[second], strict=True)]
        extra = found[first][0]["extra_variance"] if key.startswith(("test", "tail_gap")) else 0.0
        figures[key] = Figure.over(values, extra_variance=extra, what=what)
    return figures


def _table(tried: Mapping[float, Cells]) -> Table:
    keys = ("tail_train_loss", "tail_gap", "test_tail_recall", "test_recall")
    rows = [
        (f"{rate:g}", way, *(f"{np.mean([c[key] for c in cells]):.3f}" for key in keys))
        for rate, found in tried.items()
        for way, cells in found.items()
    ]
    return Table(
        "Up-weighting and up-sampling in mini-batches",
        ("rate", "way", "tail training loss", "test minus training", "tail recall on test", "mean recall"),
        tuple(rows),
        "Means over seeds after as many steps at the same rate; the tail is a third of the classes.",
    )
