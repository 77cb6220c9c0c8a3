"""Does pretraining on a long tail leave its prior in the classifier after fine-tuning or probing?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.augment import Normalize
from tailgrad.checks import InputError
from tailgrad.data import Profile, counts_for
from tailgrad.engine import Learner, LossWatch, Plan, fit, infer, load_weights, supervised_step
from tailgrad.evidence.analyses.finished_runs import tail_of
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.splits_used import used
from tailgrad.heads.init import kaiming_uniform
from tailgrad.recipes.assemble import assemble, make_loss, make_model
from tailgrad.recipes.compose import merge
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import configure
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.run_folder import with_settled
from tailgrad.recipes.scores import validator
from tailgrad.types import ClassInfo

BATCH = 256
BEFORE = ("long_tail", "even")
MODES = ("probe", "reset", "keep")
"""What follows: a new head on frozen features; a new head, all trained; the old head kept, all trained."""
PLAIN = {"precision": "float32", "channels_last": False, "compile": "off", "fused": False}
Indices = NDArray[np.int64]
Measured = dict[tuple[str, str, str], list[dict[str, Any]]]


class Halves(NamedTuple):
    """One draw of the data.

    Args:
        config: of all trainings.
        whole: split and decoded, not thinned.
        first: training images of each class for pretraining [K], positions in the training part, shuffled.
        second: the same for what follows; no image is in both.
    """

    config: Config
    whole: Prepared
    first: list[Indices]
    second: list[Indices]


def analyse(lab: Lab) -> Analysis:
    """Pretrain on a long tail or evenly on one half of the images, go on on the other, compare by class.

    The gap of a classifier is its recall of the classes that were rare in the long-tailed pretraining less
    that of the classes that were frequent. A prior left behind makes the gap lower after long-tailed
    pretraining than after an even one with as many images, everything else being equal.

    Example: see ``tailgrad study pretraining-prior --size smoke``.
    """
    plan = lab.settings
    ways = list(product(BEFORE, plan["after"], plan["modes"]))
    lab.expect((len(BEFORE) + len(ways)) * plan["seeds"])
    measured: Measured = {way: [_adapted(lab, way, seed) for seed in range(plan["seeds"])] for way in ways}
    figures: dict[str, Figure] = {}
    for after, mode in product(plan["after"], plan["modes"]):
        runs = [measured[before, after, mode] for before in BEFORE]
        values = [gap(tailed) - gap(even) for tailed, even in zip(*runs, strict=True)]
        what = "recall of formerly rare less formerly frequent classes, long-tailed less even pretraining"
        figures[f"{after}.{mode}.gap_change"] = _over(values, runs[0], what)
    figures |= _head_against_features(measured, plan)
    return Analysis(figures, [_table(measured)], seeds=range(plan["seeds"]))


def gap(run: Mapping[str, Any]) -> float:
    """Mean recall of the third that was rare in pretraining less that of the third that was frequent.

    Example:
        >>> gap({"recall": [0.9, 0.5, 0.4], "former": [50, 20, 5]})
        -0.5
    """
    recall, former = np.array(run["recall"]), run["former"]
    return float(recall[tail_of(former)].mean() - recall[tail_of(former, "head")].mean())


def _over(values: list[float], runs: Sequence[Mapping[str, Any]], what: str) -> Figure:
    wider = float(np.mean([run["extra_variance"] for run in runs]))
    return Figure.over(values, extra_variance=wider, what=what)


def _head_against_features(measured: Measured, plan: Mapping[str, Any]) -> dict[str, Figure]:
    """What keeping the old head adds to the change of the gap: the part that the classifier itself holds."""
    found: dict[str, Figure] = {}
    for after in plan["after"] if {"keep", "reset"} <= set(plan["modes"]) else ():
        four = [measured[before, after, mode] for mode in ("keep", "reset") for before in BEFORE]
        values = [(gap(a) - gap(b)) - (gap(c) - gap(d)) for a, b, c, d in zip(*four, strict=True)]
        what = "change of the gap with the old head kept less that with a new head"
        found[f"{after}.kept_head"] = _over(values, four[0], what)
    return found


def _adapted(lab: Lab, way: tuple[str, str, str], seed: int) -> dict[str, Any]:
    before, after, mode = way
    start = lab.folder / "pretrained" / f"{before}.seed{seed}"

    def pretrain() -> dict[str, Any]:
        halves = _halves(lab, seed)
        ready = _with(halves, _chosen(halves.first, before, lab.settings["imbalance"]))
        return {"recall": _trained(halves, ready, start, None, "keep"), **_about(halves, lab)}

    def adapt() -> dict[str, Any]:
        halves = _halves(lab, seed)
        ready = _with(halves, _chosen(halves.second, after, lab.settings["imbalance"]))
        folder = lab.folder / "adapted" / f"{before}.{after}.{mode}.seed{seed}"
        return {"recall": _trained(halves, ready, folder, start, mode), **_about(halves, lab)}

    lab.cell(f"pretrain.{before}.seed{seed}", pretrain)
    return lab.cell(f"adapt.{before}.{after}.{mode}.seed{seed}", adapt)


def _about(halves: Halves, lab: Lab) -> dict[str, Any]:
    former = [len(part) for part in _chosen(halves.first, "long_tail", lab.settings["imbalance"])]
    whole = halves.whole
    wider = 0.0 if whole.own_test else len(whole.split.test) / len(whole.split.train)
    return {"former": former, "extra_variance": wider}


def _halves(lab: Lab, seed: int) -> Halves:
    """The training part cut in two, class by class, as the seed says."""
    plan = lab.settings
    data = {"profile": "none", "resident": "memory"}
    above = {"seed": seed, "split_seed": seed, "data": data}
    source, overrides = next(iter(lab.data.values())), merge(plan.get("set", {}), above)
    config, opened = configure(source, method=plan["method"], regime=plan.get("regime"), overrides=overrides)
    whole = prepare(config, opened, lab.say)
    target = whole.source.labels[whole.index("train")]
    random = np.random.RandomState(seed)
    members = [random.permutation(np.flatnonzero(target == k)) for k in range(whole.classes.num_classes)]
    first, second = ([part[half::2] for part in members] for half in (0, 1))
    return Halves(config, whole, first, second)


def _chosen(members: Sequence[Indices], prior: str, factor: float) -> list[Indices]:
    """Images of each class under a prior; all three have about as many images in all.

    Raises:
        InputError: an unknown prior.
    """
    counts = counts_for_prior([len(part) for part in members], prior, factor)
    return [part[:n] for part, n in zip(members, counts, strict=True)]


def counts_for_prior(available: Sequence[int], prior: str, factor: float) -> list[int]:
    """How many images each class keeps.

    Args:
        available: at hand [K].
        prior: ``long_tail``, exponential in class order; ``reversed``, in the other order; ``even``, the mean
            count of the long tail.
        factor: imbalance factor of the two tails.

    Raises:
        InputError: an unknown prior.

    Example:
        >>> [counts_for_prior([40, 40, 40], p, 4) for p in ("long_tail", "reversed", "even")]
        [[40, 20, 10], [10, 20, 40], [23, 23, 23]]
    """
    profile = Profile("exponential", factor)
    if prior == "long_tail":
        return [int(n) for n in counts_for(profile, available)]
    if prior == "reversed":
        return [int(n) for n in counts_for(profile, available[::-1])[::-1]]
    if prior != "even":
        raise InputError(f"after must be long_tail, reversed or even, got {prior!r}; choose one")
    mean = int(counts_for(profile, available).mean())
    return [max(1, min(mean, n)) for n in available]


def _with(halves: Halves, chosen: Sequence[Indices]) -> Prepared:
    """The data with these training images, validation and test as they are."""
    whole, places = halves.whole, np.sort(np.concatenate(list(chosen)))
    assert whole.images is not None  # asked for by the configuration; this tells the type checker
    images = {**whole.images, "train": whole.images["train"][torch.as_tensor(places)]}
    split = whole.split.with_train(whole.split.train[places])
    counts = tuple(len(part) for part in chosen)
    return replace(whole, split=split, images=images, classes=ClassInfo(whole.classes.names, counts))


def _trained(halves: Halves, ready: Prepared, folder: Path, start: Path | None, mode: str) -> list[float]:
    """Recall of each class on the test part after training, the epoch chosen on validation images."""
    if mode not in MODES:
        raise InputError(f"modes must be among {', '.join(MODES)}, got {mode!r}; choose some")
    used(ready.split, ready.source)
    config = with_settled(halves.config, PLAIN)
    learner = _learner(config, ready, halves.whole.normalize(), start, mode)
    size = config.train.batch_size
    plan = Plan(epochs=config.train.epochs, keep=folder, seed=config.seed, save_minutes=None)
    loader = ready.loader("train", size, config.seed)
    check = validator(learner, ready, 2 * size, None)
    fit(learner, loader, check, plan, step=supervised_step, watch=LossWatch(ready.name))
    learner.network.load_state_dict(load_weights(folder / "weights.safetensors")[0])
    logits, target, _ = infer(learner, ready.loader("test", BATCH))
    right = logits.argmax(1) == target
    return [float(right[target == k].float().mean()) for k in range(ready.classes.num_classes)]


def _learner(config: Config, ready: Prepared, normalize: Normalize, start: Path | None, mode: str) -> Learner:
    model = make_model(config, ready.classes.num_classes)
    if start is not None:
        model.load_state_dict(load_weights(start / "weights.safetensors")[0])
        if mode != "keep":
            torch.manual_seed(config.seed + 1)
            kaiming_uniform(model.head)
    backbone: Any = model.backbone
    if mode == "probe":
        backbone.requires_grad_(False)
    loss = make_loss(config, ready.classes, model=model)
    learner = assemble(config, model, loss, normalize, ready.classes.counts)
    return replace(learner, still=(backbone,)) if mode == "probe" else learner


def _table(measured: Measured) -> Table:
    rows = []
    for (before, after, mode), runs in measured.items():
        parts = ("head", "middle", "tail")
        recalls = (np.mean([_mean_recall(run, part) for run in runs]) for part in parts)
        mean = _over([gap(run) for run in runs], runs, "gap").mean
        rows.append((before, after, mode, *(f"{value:.3f}" for value in recalls), str(mean)))
    header = ("pretrained", "then", "how", "once frequent", "once between", "once rare", "gap")
    note = (
        "Recall by class frequency in the long-tailed pretraining; validation and test parts as the source "
        "has them. probe: new head, features frozen; reset: new head, all trained; keep: the old head too."
    )
    return Table("Recall by former frequency", header, tuple(rows), note)


def _mean_recall(run: Mapping[str, Any], part: str) -> float:
    return float(np.array(run["recall"])[tail_of(run["former"], part)].mean())
