"""Further stages of a run, each beginning with the best weights of the one before."""

import shutil
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.distributed import first_does
from tailgrad.engine import Fitted, infer, load_weights, save_weights
from tailgrad.files import write_text
from tailgrad.heads import tau_normalize
from tailgrad.recipes.config import StageConfig
from tailgrad.recipes.job import Job
from tailgrad.recipes.pooled import pooled_features
from tailgrad.recipes.scores import score
from tailgrad.recipes.stage_checks import linear_head
from tailgrad.recipes.stage_training import train_stage

Meta = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One stage of one run.

    Args:
        job: the run.
        stage: what is done.
        number: of the stage, counted from 1.

    Example: see ``run_stages``.
    """

    job: Job
    stage: StageConfig
    number: int

    @property
    def folder(self) -> Path:
        """Where the stage keeps its weights."""
        return self.job.folder.path / "checkpoint" / f"stage{self.number}-{self.stage.name}"


class _TimeUp(Exception):  # noqa: N818 - no error, but the end of a sitting
    """The time was used up within a stage."""


def run_stages(job: Job, meta: Meta, fitted: Fitted) -> list[Meta]:
    """Run what follows the first training and leave the result in ``checkpoint/final.safetensors``.

    A stage that is finished is not run again; one that was stopped goes on from its last epoch. Both only if
    they began with the weights that the stage before leaves now. Where the time is used up, the stages left
    wait for the next sitting.

    Args:
        job: the run; its network is left with the final weights.
        meta: stored with the weights.
        fitted: how the first training ended; it becomes "minutes" where the time is used up in a stage.

    Returns:
        For each stage its name, what it chose and its validation macro-F1.

    Raises:
        InputError: a stage does not suit the network.
        Interrupted: on Ctrl-C.

    Example: see ``tests/recipes/test_stages.py``.
    """
    kept = job.folder.path / "checkpoint"
    weights = kept / "weights.safetensors"
    told: list[Meta] = []
    for number, stage in enumerate(job.config.stages, start=1):
        if fitted.stopped == "minutes":
            return []
        step = Step(job, stage, number)
        job.learner.network.load_state_dict(load_weights(weights)[0])
        first_does(partial(_begin, step.folder, weights))
        done = step.folder / "done.safetensors"
        if done.exists():
            tensors, stored = load_weights(done)
            job.learner.network.load_state_dict(tensors)
        else:
            try:
                stored = _run(step)
            except _TimeUp:
                fitted.stopped = "minutes"
                return []
            save_weights(done, job.learner.network, meta | stored)
        weights = done
        epochs = stage.epochs if stage.kind in ("train", "merge") else 0
        told.append({key: stored[key] for key in ("stage", "chosen", "val_macro_f1")} | {"epochs": epochs})
        found = f"validation macro-F1 {stored['val_macro_f1']:.3f}{_choice(stored)}"
        job.say(f"stage {number}, {stage.name}: {found}")
    if told:
        save_weights(kept / "final.safetensors", job.learner.network, meta | {"stages": told})
    return told


def _begin(folder: Path, weights: Path) -> None:
    """Leave nothing of a stage that began with other weights, and note those that it begins with now."""
    mark, now = folder / "begins-with", sha256(weights.read_bytes()).hexdigest()
    if folder.exists() and (not mark.exists() or mark.read_text(encoding="utf-8") != now):
        shutil.rmtree(folder)
    write_text(mark, now)


def _choice(stored: Meta) -> str:
    return "".join(f", {name} {value:g}" for name, value in stored["chosen"].items())


def _run(step: Step) -> Meta:
    chosen = {"train": _train, "tau_norm": _tau_norm, "ncm": _ncm, "merge": _merge}[step.stage.kind](step)
    return {"stage": step.stage.name, "chosen": chosen, "val_macro_f1": validation_macro_f1(step.job)}


def _train(step: Step) -> dict[str, float]:
    _in_time(train_stage(step.job, step.stage, step.folder, step.number))
    return {}


def _in_time(fitted: Fitted) -> None:
    if fitted.stopped == "minutes":
        raise _TimeUp


def _tau_norm(step: Step) -> dict[str, float]:
    network, stage = step.job.learner.network, step.stage
    head = linear_head(network, stage)
    grid = [i / 10 for i in range(21)] if stage.tau == "tuned" else [float(stage.tau)]
    features, target = pooled_features(step.job, "val")
    features = features.to(head.weight.device)
    heads = {tau: tau_normalize(head, tau) for tau in grid}
    classes = step.job.ready.classes
    scores = {
        tau: score(made(features).detach().cpu(), target, classes, step.job.learner.loss)["val_macro_f1"]
        for tau, made in heads.items()
    }
    best = max(grid, key=lambda tau: scores[tau])
    _put_in(head, heads[best])
    return {"tau": best}


def _ncm(step: Step) -> dict[str, float]:
    """Nearest class mean as a linear layer: ``-|f - m_k|^2`` is ``2 <m_k, f> - |m_k|^2 - |f|^2``."""
    head = linear_head(step.job.learner.network, step.stage)
    features, target = pooled_features(step.job, "train")
    with torch.no_grad():
        for k in range(head.out_features):
            mean = features[target == k].mean(0)
            head.weight[k] = 2 * mean
            head.bias[k] = -mean.square().sum()
    return {}


def _merge(step: Step) -> dict[str, float]:
    """Between the weights of a fine-tune on natural and one on balanced batches, by validation data."""
    job, stage = step.job, step.stage
    start = {name: value.clone() for name, value in job.learner.network.state_dict().items()}
    balanced = stage.sampler.name if stage.sampler.name != "instance" else "class_balanced"
    parents: list[dict[str, Tensor]] = []
    for name in ("instance", balanced):
        job.learner.network.load_state_dict(start)
        own = stage.model_copy(update={"sampler": stage.sampler.model_copy(update={"name": name})})
        _in_time(train_stage(job, own, step.folder / name, step.number))
        parents.append({key: value.clone() for key, value in job.learner.network.state_dict().items()})
    grid = [i / 10 for i in range(11)]
    scores = {}
    for share in grid:
        job.learner.network.load_state_dict(merged(parents[0], parents[1], share))
        scores[share] = validation_macro_f1(job)
    best = max(grid, key=lambda share: scores[share])
    job.learner.network.load_state_dict(merged(parents[0], parents[1], best))
    return {"natural share": best}


def merged(natural: dict[str, Tensor], balanced: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """``share natural + (1 - share) balanced`` for every floating-point tensor, else the natural one's.

    Source: weight merging of two fine-tunes of one start; BatchNorm statistics are averaged too (assumed).

    Example:
        >>> merged({"w": torch.ones(1)}, {"w": torch.zeros(1)}, 0.25)
        {'w': tensor([0.2500])}
    """
    return {
        name: share * value + (1 - share) * balanced[name] if value.is_floating_point() else value
        for name, value in natural.items()
    }


def validation_macro_f1(job: Job) -> float:
    """Of the network as it is.

    Example: see ``run_stages``.
    """
    logits, target, _ = infer(job.learner, job.ready.loader("val", 2 * job.config.train.batch_size))
    return float(score(logits, target, job.ready.classes, job.learner.loss)["val_macro_f1"])


def _put_in(head: nn.Linear, other: nn.Linear) -> None:
    with torch.no_grad():
        head.weight.copy_(other.weight)
        head.bias.copy_(other.bias) if other.bias is not None else head.bias.zero_()
