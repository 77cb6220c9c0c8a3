"""The loop: epochs of steps, validation, the best and the last checkpoint, early stopping, exact resume."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from tailgrad.engine.checkpoint import load_last, save_last, save_weights
from tailgrad.engine.learner import Learner
from tailgrad.engine.observers import Observer, Row
from tailgrad.engine.watch import Diverged, LossWatch
from tailgrad.types import Batch

Step = Callable[[Learner, Batch], Tensor]


class Loader(Protocol):
    """Batches of one epoch; ``set_epoch`` fixes their order."""

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of ``epoch``."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches."""

    def __len__(self) -> int:
        """Batches an epoch."""


@dataclass(frozen=True)
class Plan:
    """How long to train and what to watch.

    Args:
        epochs: most epochs.
        patience: epochs without improvement after which to stop; 0 never stops.
        monitor: name of the validation figure that chooses the best epoch; lower is better where the name
            ends in "loss", higher otherwise.
        seed: seeds every epoch together with its number.
        minutes: stop after the epoch in which this time is used up; None is no limit.
        keep: folder of ``weights.safetensors`` (best epoch) and ``last.safetensors`` (exact state).
        meta: stored with the weights (class names, counts, configuration).

    Example:
        >>> Plan(epochs=3, keep=Path("checkpoint")).better(0.5, None)
        True
    """

    epochs: int
    keep: Path
    patience: int = 0
    monitor: str = "val_macro_f1"
    seed: int = 0
    minutes: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def better(self, value: float, best: float | None) -> bool:
        """Whether ``value`` improves on ``best``."""
        if best is None:
            return True
        return value < best if self.monitor.endswith("loss") else value > best


@dataclass
class Fitted:
    """Where a run stands: the part of its state that is not a tensor.

    Args:
        epoch: finished epochs.
        step: finished steps.
        best: best monitored value so far.
        best_epoch: its epoch.
        seconds: training time so far, over all sittings.
        stopped: why it ended: "epochs", "patience", "minutes", or "" while it runs.

    Example:
        >>> Fitted().epoch
        0
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    stopped: str = ""


class Interrupted(Exception):  # noqa: N818 - it is a request of the user, not an error
    """The user asked to stop; the last finished epoch is on disk.

    Example:
        >>> raise Interrupted("stopped after epoch 2")
        Traceback (most recent call last):
        ...
        tailgrad.engine.loop.Interrupted: stopped after epoch 2
    """


def fit(
    learner: Learner,
    batches: Loader,
    validate: Callable[[], Row],
    plan: Plan,
    *,
    step: Step,
    watch: LossWatch,
    observers: Sequence[Observer] = (),
) -> Fitted:
    """Train until the plan ends; the best weights and the last state are in ``plan.keep``.

    A run that finds ``last.safetensors`` there goes on from it to the same result as one that was never
    stopped: orders, dropout and augmentation are drawn anew each epoch from (seed, epoch).

    Args:
        learner: what is trained.
        batches: training batches by epoch.
        validate: figures of the current model by name; holds ``plan.monitor``.
        plan: length, selection and folder.
        step: one update (``supervised_step``).
        watch: stops on a loss that is not finite.
        observers: told of every step and epoch.

    Raises:
        Interrupted: on Ctrl-C.
        Diverged: the loss is not finite.
        InputError: the checkpoint cannot be read or written.

    Example: see ``tests/engine/test_loop.py``.
    """
    fitted = _resume(learner, plan)
    kept = fitted.epoch
    begin = time.monotonic() - fitted.seconds
    limit = None if plan.minutes is None else time.monotonic() + 60 * plan.minutes
    try:
        while not _reason_to_stop(fitted, plan, limit):
            row = _train_epoch(learner, batches, fitted, plan, step, watch, observers)
            row |= validate()
            fitted.seconds = time.monotonic() - begin
            _keep(learner, fitted, plan, row)
            _tell(observers, row | {"seconds": round(fitted.seconds, 3)})
            save_last(plan.keep / "last.safetensors", learner, asdict(fitted))
            kept = fitted.epoch
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped by the user; finished epochs kept: {kept}") from error
    fitted.stopped = _reason_to_stop(fitted, plan, limit)
    return fitted


def _resume(learner: Learner, plan: Plan) -> Fitted:
    for group in learner.optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    last = plan.keep / "last.safetensors"
    return Fitted(**load_last(last, learner)) if last.exists() else Fitted()


def _reason_to_stop(fitted: Fitted, plan: Plan, limit: float | None) -> str:
    if fitted.epoch >= plan.epochs:
        return "epochs"
    if plan.patience and fitted.epoch - fitted.best_epoch >= plan.patience:
        return "patience"
    if limit is not None and fitted.epoch and time.monotonic() >= limit:
        return "minutes"
    return ""


def _train_epoch(
    learner: Learner,
    batches: Loader,
    fitted: Fitted,
    plan: Plan,
    step: Step,
    watch: LossWatch,
    observers: Sequence[Observer],
) -> Row:
    epoch = fitted.epoch + 1
    torch.manual_seed(plan.seed * 1_000_003 + epoch)
    batches.set_epoch(epoch)
    learner.start_epoch(epoch, plan.epochs)
    done = fitted.step
    for place, batch in enumerate(batches):
        _set_rate(learner, fitted.epoch + place / len(batches), 1 / len(batches))
        loss = step(learner, batch)
        done += 1
        for record in watch.add(loss, step=done, epoch=epoch, index=batch.index):
            for observer in observers:
                observer.on_step(record)
    watch.flush()
    fitted.epoch, fitted.step = epoch, done
    return {"epoch": epoch, "lr": learner.optimizer.param_groups[0]["lr"], "train_loss": watch.mean()}


def _set_rate(learner: Learner, t: float, one_step: float) -> None:
    # Warm-up is read at the end of the step, so that the first step does not run at rate 0.
    warming = t < learner.schedule.warmup
    factor = learner.schedule.factor(t + one_step if warming else t)
    for group in learner.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _keep(learner: Learner, fitted: Fitted, plan: Plan, row: Row) -> None:
    value = float(row[plan.monitor])
    if value != value:
        raise Diverged(
            f"{plan.monitor} is nan after epoch {fitted.epoch}; lower optim.lr or use "
            "train.precision=float32 (the last good checkpoint is kept)"
        )
    if plan.better(value, fitted.best):
        fitted.best, fitted.best_epoch = value, fitted.epoch
        save_weights(plan.keep / "weights.safetensors", learner.model, plan.meta | {"epoch": fitted.epoch})


def _tell(observers: Sequence[Observer], row: Row) -> None:
    for observer in observers:
        observer.on_epoch(row)
