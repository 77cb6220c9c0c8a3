"""Curvature of each class's loss where training ends, after SGD and after SAM."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tailgrad.data import Profile
from tailgrad.evaluate.groups import thirds
from tailgrad.evidence.analyses.choice_by_validation import Choice, choice_table, choose
from tailgrad.evidence.analyses.small_sets import Part, SmallSet, small_set
from tailgrad.evidence.analyses.small_training import (
    balanced_losses,
    class_losses,
    class_recalls,
    drawn,
    fit_by_closure,
    mean_of,
    small_network,
)
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.interference import Curvature, curvature
from tailgrad.optim import SAM
from tailgrad.samplers import InstanceSampler

Cells = list[dict[str, Any]]


def analyse(lab: Lab) -> Analysis:
    """Depth of negative curvature of tail and head with and without SAM, rate and radius by validation.

    Settings: ``imbalance``, ``rates``, ``radii`` (of SAM), ``steps``, ``batch``, ``width``, ``side``,
    ``seeds``, ``max_per_class`` (for curvature).
    """
    seeds, radii = lab.seeds, [float(rho) for rho in lab.settings["radii"]]
    lab.expect(((1 + len(set(radii))) * len(lab.settings["rates"]) + 2) * len(seeds))
    choices = []
    found: dict[str, Cells] = {}
    for method, tried in {"sgd": [0.0], "sam": radii}.items():
        best = [_best_rate(lab, method, rho, seeds) for rho in tried]
        scores = {rho: [choice.score] for rho, choice in zip(tried, best, strict=True)}
        radius = choose(f"{method}, radius", scores)
        rate = best[tried.index(radius.value)]
        choices += [rate] if method == "sgd" else [rate, radius]
        found[method] = [_bend(lab, method, rate.value, radius.value, seed) for seed in seeds]
    figures = _figures(found)
    figures["at_edge"] = Figure.over([float(c.at_edge) for c in choices], what="share of choices at the edge")
    return Analysis(figures, [_table(found), choice_table(choices, "rate and radius")], list(seeds))


def _best_rate(lab: Lab, method: str, rho: float, seeds: Sequence[int]) -> Choice:
    scores = {
        rate: [_trained(lab, rate, rho, seed)["val_recall"] for seed in seeds]
        for rate in lab.settings["rates"]
    }
    return choose(f"{method}, rate at radius {rho:g}", scores)


def _trained(lab: Lab, rate: float, rho: float, seed: int) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        data, net = _train(lab, rate, rho, seed)
        return {"val_recall": float(class_recalls(net, data.val, data.num_classes).mean())}

    return lab.cell(f"trained.rate-{rate:g}.radius-{rho:g}.seed-{seed}", make)


def _bend(lab: Lab, method: str, rate: float, rho: float, seed: int) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        data, net = _train(lab, rate, rho, seed)
        return _judged(net, data, int(lab.settings["max_per_class"]), seed)

    return lab.cell(f"curvature.{method}.rate-{rate:g}.radius-{rho:g}.seed-{seed}", make)


def _train(lab: Lab, rate: float, rho: float, seed: int) -> tuple[SmallSet, nn.Module]:
    settings = lab.settings
    profile = Profile("exponential", settings["imbalance"])
    data = small_set(lab.data["images"], seed, profile=profile, side=settings["side"])
    net = small_network(data.train.inputs.shape[1], data.num_classes, width=settings["width"], seed=seed)
    inner = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    order = InstanceSampler(data.train.target, seed=seed)
    batches = drawn(data.train, order, settings["batch"], settings["steps"])
    fit_by_closure(net, batches, SAM(net, inner, rho), balanced_losses(data.counts))
    return data, net


def _judged(net: nn.Module, data: SmallSet, most: int, seed: int) -> dict[str, Any]:
    train = [(data.train.inputs, data.train.target)]
    found = curvature(net, train, max_per_class=most, seed=seed)
    recalls = class_recalls(net, data.test, data.num_classes)
    losses = class_losses(net, data.train, data.num_classes)
    groups = thirds(data.counts)
    return {
        **{f"depth_{name}": mean_of(depth(found), groups[name]) for name in ("head", "tail")},
        **{f"saddles_{name}": share_at_saddle(found, groups[name]) for name in ("head", "tail")},
        **{f"largest_{name}": mean_of(found.largest.tolist(), groups[name]) for name in ("head", "tail")},
        **{f"loss_{name}": mean_of(losses, groups[name]) for name in ("head", "tail")},
        "gradient_norm": _gradient_norm(net, data.train, data.counts),
        "test_tail_recall": mean_of(recalls, groups["tail"]),
        "extra_variance": data.extra_variance,
    }


def depth(found: Curvature) -> list[float]:
    """``-lambda_min / lambda_max`` of each class, at least 0: how like a saddle, whatever its scale.

    Example:
        >>> one = np.ones(1)
        >>> depth(Curvature(("cat",), np.ones(1, int), "all", -one, 4 * one, one / 100, one / 100))
        [0.25]
    """
    pairs = zip(found.smallest.tolist(), found.largest.tolist(), strict=True)
    return [max(0.0, -low / high) if high > 0 else 0.0 for low, high in pairs]


def share_at_saddle(found: Curvature, classes: Sequence[int]) -> float:
    """Share of these classes with negative curvature beyond the error of the estimate."""
    return float(np.mean([found.class_names[k] in found.saddles for k in classes]))


def _gradient_norm(net: nn.Module, train: Part, counts: Sequence[int]) -> float:
    """Of the mean training loss: how near to a stationary point training has come."""
    loss = balanced_losses(counts)(net(train.inputs), train.target).mean()
    parts = torch.autograd.grad(loss, list(net.parameters()))
    return float(torch.cat([part.flatten() for part in parts]).norm())


def _figures(found: Mapping[str, Cells]) -> dict[str, Figure]:
    figures = {}
    for method, cells in found.items():
        more = [c["depth_tail"] - c["depth_head"] for c in cells]
        figures[f"tail_minus_head.{method}"] = Figure.over(more, what="depth of the tail minus the head's")
        for key in ("depth_tail", "depth_head", "saddles_tail", "saddles_head"):
            figures[f"{key}.{method}"] = Figure.over([c[key] for c in cells], what=key.replace("_", ", "))
    pairs = list(zip(found["sam"], found["sgd"], strict=True))
    flatter = [sgd["depth_tail"] - sam["depth_tail"] for sam, sgd in pairs]
    gain = [sam["test_tail_recall"] - sgd["test_tail_recall"] for sam, sgd in pairs]
    figures["escape"] = Figure.over(flatter, what="depth of the tail: SGD minus SAM")
    figures["gain"] = Figure.over(
        gain, extra_variance=pairs[0][0]["extra_variance"], what="tail recall on test data: SAM minus SGD"
    )
    return figures


def _table(found: Mapping[str, Cells]) -> Table:
    keys = ("depth", "saddles", "largest", "loss")
    rows = [
        (
            method,
            group,
            *(f"{np.mean([c[f'{key}_{group}'] for c in cells]):.3g}" for key in keys),
            f"{np.mean([c['gradient_norm'] for c in cells]):.2g}",
            f"{np.mean([c['test_tail_recall'] for c in cells]):.3f}" if group == "tail" else "",
        )
        for method, cells in found.items()
        for group in ("head", "tail")
    ]
    return Table(
        "Curvature of class losses at the end of training",
        (
            "method",
            "third",
            "depth",
            "share at a saddle",
            "largest eigenvalue",
            "training loss",
            "norm of the gradient",
            "test recall",
        ),
        tuple(rows),
        "Depth: -(smallest eigenvalue) / (largest), means over classes and seeds, on training data.",
    )
