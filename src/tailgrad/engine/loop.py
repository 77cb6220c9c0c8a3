"""The loop: epochs of steps, validation, the best and the last checkpoint, early stopping, exact resume."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.distributed import agreed
from tailgrad.distributed import place as among_ranks
from tailgrad.engine.checkpoint import has_last, load_last, load_weights, save_last, save_weights
from tailgrad.engine.learner import Learner
from tailgrad.engine.observers import Observer, Row
from tailgrad.engine.random_state import random_state, set_random_state
from tailgrad.engine.watch import Diverged, LossWatch, WeightWatch
from tailgrad.types import Batch, StepRecord
from tailgrad.untrusted import of_shape

Step = Callable[[Learner, Batch], Tensor]
Between = Callable[[int], None]
RANKS_APART = 0x51ED2701
"""Between the seeds of two ranks, each of which augments examples of its own."""


class Loader(Protocol):
    """Batches of one epoch; ``set_epoch`` fixes their order."""

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of ``epoch``."""

    def begin_at(self, batch: int) -> object:
        """Leave out the first ``batch`` batches of the epoch."""

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
            ends in "loss", higher otherwise. Of epochs with the same figure the one with the lower
            ``val_loss`` is the best, and patience counts from there.
        seed: seeds every epoch together with its number.
        minutes: stop after the epoch in which this time is used up; None is no limit.
        save_minutes: least time between two saves of the exact state within an epoch; 0 saves after every
            look at the loss, None at the ends of epochs only.
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
    save_minutes: float | None = 10.0
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
        best_loss: ``val_loss`` of that epoch; of equal epochs the one with the lower is the best.
        best_epoch: its number.
        seconds: training time so far, over all sittings.
        stopped: why it ended: "epochs", "patience", "minutes", or "" while it runs.
        done: batches already trained on of the epoch after ``epoch``.
        held: what the watch, the step and the observers carry on with, by the name of their class.
        random: state of the generators within an epoch.

    Example:
        >>> Fitted().epoch
        0
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_loss: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    stopped: str = ""
    done: int = 0
    held: dict[str, Any] = field(default_factory=dict)
    random: dict[str, str] = field(default_factory=dict)


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
    between: Between | None = None,
) -> Fitted:
    """Train until the plan ends; the best weights and the last state are in ``plan.keep``.

    A run that finds ``last.safetensors`` there goes on from it, in the middle of an epoch too, to the same
    result as one that was never stopped: orders, dropout and augmentation are drawn anew each epoch from
    (seed, epoch), and the state of the generators is stored with the rest.

    Args:
        learner: what is trained.
        batches: training batches by epoch.
        validate: figures of the current model by name; holds ``plan.monitor``.
        plan: length, selection and folder.
        step: one update (``supervised_step``).
        watch: stops on a loss that is not finite.
        observers: told of every step and epoch.
        between: called with the number of an epoch after it was told of and before the state is saved; unlike
            an observer it may change what is trained.

    Raises:
        Interrupted: on Ctrl-C.
        Diverged: the loss or the weights are not finite.
        InputError: the checkpoint cannot be read or written.

    Example: see ``tests/engine/test_loop.py``.
    """
    fitted = _resume(learner, plan)
    session = _Sitting(learner, batches, plan, step, watch, observers)
    with of_shape(plan.keep / "last.safetensors"):
        session.carry(fitted)
    kept = fitted.epoch
    begin = time.monotonic() - fitted.seconds
    limit = None if plan.minutes is None else time.monotonic() + 60 * plan.minutes
    try:
        while not _reason_to_stop(fitted, plan, limit):
            row = session.epoch(fitted)
            row |= validate()
            fitted.seconds = time.monotonic() - begin
            _keep(learner, fitted, plan, row)
            _tell(observers, row | {"seconds": round(fitted.seconds, 3)})
            if between is not None:
                between(fitted.epoch)
            session.save(fitted)
            kept = fitted.epoch
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped by the user; finished epochs kept: {kept}") from error
    fitted.stopped = _reason_to_stop(fitted, plan, limit)
    return fitted


def _resume(learner: Learner, plan: Plan) -> Fitted:
    for group in learner.optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    last = plan.keep / "last.safetensors"
    if not has_last(last):
        return Fitted()
    progress = load_last(last, learner)
    with of_shape(last):
        fitted = Fitted(**progress)
    if _weights_are_ahead(fitted, plan):
        # Of an epoch that is run again, and the best before it are gone: even on a GPU, where it may come to
        # a little less than the first time, its weights are to be those that its figures are told of.
        fitted.best = None
    return fitted


def _weights_are_ahead(fitted: Fitted, plan: Plan) -> bool:
    """Whether a run was stopped between the two files of an epoch."""
    try:
        epoch = load_weights(plan.keep / "weights.safetensors")[1].get("epoch")
    except InputError:  # told where they are needed; a better epoch may come first
        return False
    return isinstance(epoch, int) and epoch > fitted.epoch


def _reason_to_stop(fitted: Fitted, plan: Plan, limit: float | None) -> str:
    if fitted.epoch >= plan.epochs:
        return "epochs"
    if plan.patience and fitted.epoch - fitted.best_epoch >= plan.patience:
        return "patience"
    if limit is not None and fitted.epoch and agreed(time.monotonic() >= limit):
        return "minutes"
    return ""


@dataclass
class _Sitting:
    """What one sitting of a run trains with."""

    learner: Learner
    batches: Loader
    plan: Plan
    step: Step
    watch: LossWatch
    observers: Sequence[Observer]

    def __post_init__(self) -> None:
        self._saved = time.monotonic()
        self._weights = WeightWatch(self.learner)

    def carry(self, fitted: Fitted) -> None:
        """Go on with what was held, also where no epoch is left: the end of the run asks for it."""
        for name, holder in self._holders().items():
            if name in fitted.held:
                holder.load_state(fitted.held[name])

    def epoch(self, fitted: Fitted) -> Row:
        """Train one epoch, or what is left of it."""
        epoch = fitted.epoch + 1
        self._draw(epoch, fitted)
        before, began = fitted.step - fitted.done, time.monotonic()
        for place, batch in enumerate(self.batches, start=fitted.done):
            _set_rate(self.learner, fitted.epoch + place / len(self.batches), 1 / len(self.batches))
            loss = self.step(self.learner, batch)
            done = before + place + 1
            looked = self.watch.add(loss, step=done, epoch=epoch, index=batch.index)
            self._tell(looked)
            # Saving waits for the device, and asks the other processes: not between two looks at the loss.
            if looked and self._is_due() and place + 1 < len(self.batches):
                seconds = fitted.seconds + time.monotonic() - began
                self.save(replace(fitted, step=done, done=place + 1, seconds=seconds))
        self._tell(self.watch.flush())
        fitted.epoch, fitted.step = epoch, before + len(self.batches)
        fitted.done = 0
        self._weights.check(step=fitted.step, epoch=epoch)
        rate = self.learner.optimizer.param_groups[0]["lr"]
        return {"epoch": epoch, "lr": rate, "train_loss": self.watch.mean()}

    def _tell(self, records: list[StepRecord]) -> None:
        for record in records:
            for observer in self.observers:
                observer.on_step(record)

    def _draw(self, epoch: int, fitted: Fitted) -> None:
        """Order and randomness of an epoch, as they were where it is gone on with in its middle."""
        torch.manual_seed(self.plan.seed * 1_000_003 + epoch + RANKS_APART * among_ranks()[0])
        self.batches.set_epoch(epoch)
        self.learner.start_epoch(epoch, self.plan.epochs)
        if fitted.done:
            self.batches.begin_at(fitted.done)
            with of_shape(self.plan.keep / "last.safetensors"):
                set_random_state(fitted.random)

    def _is_due(self) -> bool:
        """Whether it is time to save; the clock decides when, never what."""
        minutes = self.plan.save_minutes
        return minutes is not None and bool(agreed(time.monotonic() - self._saved >= 60 * minutes))

    def save(self, fitted: Fitted) -> None:
        """Write the state, from which training goes on to the same end."""
        self._tell(self.watch.flush())
        if fitted.done:
            self._weights.check(step=fitted.step, epoch=fitted.epoch + 1)
        fitted.held = {name: holder.state() for name, holder in self._holders().items()}
        fitted.random = random_state() if fitted.done else {}
        save_last(self.plan.keep / "last.safetensors", self.learner, asdict(fitted))
        self._saved = time.monotonic()

    def _holders(self) -> dict[str, Any]:
        """Those that hold more than a checkpoint's tensors."""
        several = (self.watch, self.step, *self.observers)
        return {type(one).__name__: one for one in several if hasattr(one, "load_state")}


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
            "train.precision=float32 (what was saved before is kept)"
        )
    loss = row.get("val_loss")
    if plan.better(value, fitted.best) or (value == fitted.best and _lower(loss, fitted.best_loss)):
        fitted.best, fitted.best_epoch = value, fitted.epoch
        fitted.best_loss = loss if loss is not None and math.isfinite(loss) else None
        save_weights(plan.keep / "weights.safetensors", learner.model, plan.meta | {"epoch": fitted.epoch})


def _lower(loss: float | None, best: float | None) -> bool:
    """Whether a network that recognises no more has come nearer to it, as where rare classes begin at 0."""
    return loss is not None and best is not None and loss < best


def _tell(observers: Sequence[Observer], row: Row) -> None:
    for observer in observers:
        observer.on_epoch(row)
