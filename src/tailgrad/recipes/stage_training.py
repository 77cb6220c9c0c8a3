"""Training of a part of the network in a later stage."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tailgrad.augment import feature_smote
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.distributed import place
from tailgrad.engine import (
    Fitted,
    Learner,
    MetricsLog,
    Plan,
    Schedule,
    fit,
    infer,
    last_progress,
    load_weights,
)
from tailgrad.engine import supervised_step as plain_step
from tailgrad.engine.learner import plain_objective
from tailgrad.engine.loop import Step
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.scaled import ScaledHead
from tailgrad.optim import MaxNorm
from tailgrad.recipes.assemble import make_optimizer
from tailgrad.recipes.config import StageConfig
from tailgrad.recipes.job import Job
from tailgrad.recipes.orders import make_order
from tailgrad.recipes.pooled import pooled_features
from tailgrad.recipes.scores import score, validator
from tailgrad.recipes.stage_checks import linear_head
from tailgrad.recipes.transforms import make_mixer


def train_stage(job: Job, stage: StageConfig, folder: Path, number: int) -> Fitted:
    """Train what the stage says, from the network's present weights, and leave it with the best epoch's.

    Parameters that do not learn are left without gradients, and everything below the head in evaluation mode,
    so that not even BatchNorm statistics change unless the stage trains the whole network.

    Args:
        job: the run; its network changes.
        stage: what learns, how long, on which batches.
        folder: of the stage's checkpoint; a stopped stage goes on from it.
        number: of the stage, counted from 1; a part of its seed.

    Raises:
        InputError: the stage does not suit the network.
        Interrupted: on Ctrl-C.

    Example: see ``tests/recipes/test_stages.py``.
    """
    seed = job.config.seed + 7919 * number
    network: Any = job.learner.network
    if stage.head == "reset":
        torch.manual_seed(seed)
        kaiming_uniform(network.head)
    with _scaled(network, stage), _learning(network, stage):
        learner = _learner(job, stage, number)
        loader, validate = _batches(job, stage, learner, seed)
        plan = Plan(
            epochs=stage.epochs,
            keep=folder,
            monitor="val_macro_f1",
            seed=seed,
            minutes=job.minutes_left(),
            save_minutes=job.config.train.save_minutes,
            meta={"stage": stage.name},
        )
        fitted = fit(
            learner,
            loader,
            validate,
            plan,
            step=_step(stage),
            watch=job.watch(),
            observers=[MetricsLog(folder / "metrics.jsonl", _epochs_done(job, folder))],
        )
        learner.network.load_state_dict(load_weights(folder / "weights.safetensors")[0])
    return fitted


def _epochs_done(job: Job, folder: Path) -> int:
    done = last_progress(folder / "last.safetensors", job.say)
    return int(done.get("epoch", 0)) if done else 0


def _learner(job: Job, stage: StageConfig, number: int) -> Learner:
    network: Any = job.learner.network
    # A copy: a stage that goes on, or one of two fine-tunes, begins with the loss as it was made.
    loss = copy.deepcopy(job.stage_losses[number - 1]).to(job.learner.fabric.device)
    settings = stage.optim or job.config.optim
    train = job.config.train
    optimizer = make_optimizer(
        settings,
        [p for p in network.parameters() if p.requires_grad],
        fused=train.fused is True,
        most=train.clip_norm,
    )
    _slow_head(optimizer, network, stage)
    if stage.max_norm:
        loss.add_module("max_norm", MaxNorm(network.head))
    whole = stage.trains == "all"
    return replace(
        job.learner,
        model=_shared(job, network, job.learner.model),
        loss=loss,
        optimizer=cast("torch.optim.Optimizer", job.learner.fabric.setup_optimizers(optimizer)),
        schedule=Schedule("cosine", epochs=stage.epochs),
        mix=make_mixer(stage.mixing, job.ready.classes.counts, stage.epochs),
        views=None,
        objective=plain_objective,
        compiled=job.learner.compiled if whole else None,
        still=() if whole else tuple(module for name, module in network.named_children() if name != "head"),
    )


def _shared(job: Job, module: nn.Module, alone: nn.Module) -> nn.Module:
    """The module as several processes train it: DDP is told of what learns when it is built."""
    if place()[1] == 1:
        return alone
    wrapped: Any = job.learner.fabric.setup_module(module)
    for method in ("outputs", "mixed"):
        if hasattr(module, method):
            wrapped.mark_forward_method(method)
    return cast("nn.Module", wrapped)


def _slow_head(optimizer: torch.optim.Optimizer, network: Any, stage: StageConfig) -> None:
    """Split the head's rate from that of the scales, where both learn."""
    if stage.trains != "head_and_scales" or stage.head_lr_factor == 1:
        return
    group = optimizer.param_groups[0]
    scale = [p for p in group["params"] if p is network.head.scales]
    group["params"] = [p for p in group["params"] if p is not network.head.scales]
    optimizer.add_param_group({**{k: v for k, v in group.items() if k != "params"}, "params": scale})
    group["lr"] = group["lr"] * stage.head_lr_factor


def _step(stage: StageConfig) -> Step:
    if not stage.max_norm:
        return plain_step

    def projected_step(learner: Learner, batch: Any) -> Tensor:
        loss = plain_step(learner, batch)
        learner.loss.max_norm.project()  # type: ignore[operator, union-attr]  # a module added above
        return loss

    return projected_step


def _batches(job: Job, stage: StageConfig, learner: Learner, seed: int) -> tuple[Any, Any]:
    """The stage's training loader and its validation; the learner is changed for stages on features."""
    size = job.config.train.batch_size
    if stage.features == "images":
        loader = job.ready.loader("train", size, seed)
        order = make_order(
            stage.sampler, loader.target.tolist(), epochs=stage.epochs, batch_size=size, seed=seed
        )
        validate = validator(learner, job.ready, 2 * size, None)
        return loader.share(*place()).ordered(order), validate
    return _feature_batches(job, stage, learner, seed)


def _feature_batches(job: Job, stage: StageConfig, learner: Learner, seed: int) -> tuple[Any, Any]:
    """Pooled features of all training images, rare classes filled up, in place of images."""
    network: Any = job.learner.network
    generator = torch.Generator().manual_seed(seed)
    features, target = feature_smote(*pooled_features(job, "train"), generator=generator, k=stage.neighbours)
    held, held_target = pooled_features(job, "val")
    learner.model, learner.still = _shared(job, network.head, network.head), ()
    learner.prepare, learner.augment = _as_it_is, _as_it_is
    learner.augment_bytes, learner.channels_last = None, False
    size = job.config.train.batch_size
    loader = ResidentLoader(features, target, torch.arange(len(target)), batch_size=size, seed=seed)
    held_out = ResidentLoader(held, held_target, torch.arange(len(held_target)), batch_size=2 * size)

    def validate() -> dict[str, Any]:
        logits, found, _ = infer(learner, held_out)
        return score(logits, found, job.ready.classes, learner.loss)

    return loader.share(*place()), validate


def _as_it_is(features: Tensor) -> Tensor:
    return features


@contextmanager
def _learning(network: Any, stage: StageConfig) -> Iterator[None]:
    """Inside, only what the stage trains has gradients."""
    before = {name: p.requires_grad for name, p in network.named_parameters()}
    scales = getattr(network.head, "scales", None)
    for name, parameter in network.named_parameters():
        of_head = name.startswith("head.")
        of_head = of_head and before[name]  # what a head froze itself stays so
        learns = {
            "all": before[name],
            "head": of_head,
            "scales": parameter is scales,
            "head_and_scales": of_head,
        }[stage.trains]
        parameter.requires_grad_(learns)
    try:
        yield
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(before.get(name, True))


@contextmanager
def _scaled(network: Any, stage: StageConfig) -> Iterator[None]:
    """Inside, the head carries one learnt factor a class; afterwards they are part of its weights."""
    if "scales" not in stage.trains:
        yield
        return
    plain = linear_head(network, stage)
    network.head = ScaledHead(plain, freeze=False).to(plain.weight.device)
    try:
        yield
    finally:
        scales = network.head.scales.detach()
        network.head = plain
        with torch.no_grad():
            plain.weight.mul_(scales[:, None])
            plain.bias.mul_(scales)
