"""Losses that down-weight or reward well-classified examples, each at its own rate and constant."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tailgrad.data import Profile
from tailgrad.evaluate import macro_f1
from tailgrad.evaluate.confusion import confusion_matrix
from tailgrad.evaluate.groups import thirds
from tailgrad.evidence.analyses.choice_by_validation import Choice, choice_table, choose
from tailgrad.evidence.analyses.small_sets import Part, small_set
from tailgrad.evidence.analyses.small_training import class_recalls, drawn, fit, mean_of, small_network
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.recipes.components import build
from tailgrad.samplers import InstanceSampler

Cells = list[dict[str, Any]]


def analyse(lab: Lab) -> Analysis:
    """Macro-F1 and tail recall on test data of every loss, rate and constant chosen on validation data.

    Settings: ``losses`` (name -> option and its grid, null for none), ``rates``, ``imbalance``, ``steps``,
    ``batch``, ``width``, ``side``, ``seeds``.
    """
    seeds, losses = lab.seeds, lab.settings["losses"]
    constants = sum(1 if option is None else len(option["grid"]) for option in losses.values())
    lab.expect(constants * len(lab.settings["rates"]) * len(seeds))
    choices: list[Choice] = []
    found: dict[str, Cells] = {}
    for name, option in losses.items():
        rate, constant = _chosen(lab, name, option, seeds)
        choices += [rate, *([] if constant is None else [constant])]
        value = None if constant is None else constant.value
        found[name] = [_cell(lab, name, _options(option, value), rate.value, seed) for seed in seeds]
    tables = [_table(found), choice_table(choices, "rate and constant, by macro-F1")]
    return Analysis(_figures(found, choices), tables, list(seeds))


def _chosen(
    lab: Lab, name: str, option: Mapping[str, Any] | None, seeds: Sequence[int]
) -> tuple[Choice, Choice | None]:
    """The best rate, at the best constant where the loss has one."""

    def rate_at(value: float | None) -> Choice:
        scores = {
            rate: [_cell(lab, name, _options(option, value), rate, seed)["val_f1"] for seed in seeds]
            for rate in lab.settings["rates"]
        }
        return choose(f"{name}, rate", scores)

    if option is None:
        return rate_at(None), None
    rates = {float(value): rate_at(value) for value in option["grid"]}
    best = choose(f"{name}, {option['name']}", {value: [rate.score] for value, rate in rates.items()})
    return rates[best.value], best


def _options(option: Mapping[str, Any] | None, value: float | None) -> dict[str, float]:
    return {} if option is None or value is None else {str(option["name"]): value}


def _cell(lab: Lab, name: str, options: Mapping[str, float], rate: float, seed: int) -> dict[str, Any]:
    words = "".join(f".{key}-{value:g}" for key, value in options.items())
    return lab.cell(
        f"{name}{words}.rate-{rate:g}.seed-{seed}",
        lambda: _run(lab.settings, lab.data["images"], name, options, rate, seed),
    )


def _run(
    settings: Mapping[str, Any], source: str, name: str, options: Mapping[str, float], rate: float, seed: int
) -> dict[str, Any]:
    profile = Profile("exponential", settings["imbalance"])
    data = small_set(source, seed, profile=profile, side=settings["side"])
    net = small_network(data.train.inputs.shape[1], data.num_classes, width=settings["width"], seed=seed)
    loss = build("losses", name, {**options, "reduction": "none"}, list(data.counts))
    order = InstanceSampler(data.train.target, seed=seed)
    batches = drawn(data.train, order, settings["batch"], settings["steps"])
    fit(net, batches, torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9), loss)
    tail = thirds(data.counts)["tail"]
    return {
        "val_f1": _macro_f1(net(data.val.inputs), data.val, data.num_classes),
        "test_f1": _macro_f1(net(data.test.inputs), data.test, data.num_classes),
        "test_tail_recall": mean_of(class_recalls(net, data.test, data.num_classes), tail),
        "extra_variance": data.extra_variance,
    }


def _macro_f1(logits: Tensor, part: Part, num_classes: int) -> float:
    # Where training has diverged arg-max gives the first class, which is as bad as it should look.
    return float(macro_f1(confusion_matrix(logits.argmax(1), part.target, num_classes)))


def _figures(found: Mapping[str, Cells], choices: Sequence[Choice]) -> dict[str, Figure]:
    extra = next(iter(found.values()))[0]["extra_variance"]
    figures = {
        "at_edge": Figure.over([float(c.at_edge) for c in choices], what="share of choices at the edge")
    }
    plain = found["cross_entropy"]
    for name, cells in found.items():
        for key in ("test_f1", "test_tail_recall"):
            more = [cell[key] - other[key] for cell, other in zip(cells, plain, strict=True)]
            if name != "cross_entropy":
                what = f"{key.replace('_', ' ')}: {name} minus cross-entropy"
                figures[f"{key}.{name}"] = Figure.over(more, extra_variance=extra, what=what)
    return figures


def _table(found: Mapping[str, Cells]) -> Table:
    keys = ("val_f1", "test_f1", "test_tail_recall")
    rows = [
        (name, *(f"{np.mean([c[key] for c in cells]):.3f}" for key in keys)) for name, cells in found.items()
    ]
    header = ("loss", "macro-F1, validation", "macro-F1, test", "tail recall, test")
    return Table(
        "Well-classified examples down-weighted or rewarded", header, tuple(rows), "Means over seeds."
    )
