"""The monitor inside ``lightning.pytorch.Trainer``."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from tailgrad.checks import InputError, one_of
from tailgrad.integrations.labels import FindTarget, Labelled, labels_of
from tailgrad.interference import Interference, Monitor, measure
from tailgrad.interference.groups import Selection
from tailgrad.interference.monitor_record import scalars

_SHARDED = ("DeepSpeedStrategy", "FSDPStrategy", "ModelParallelStrategy")


class LightningCallback(Callback):
    """Watch which classes pull the parameters apart while Lightning trains.

    Numbers of each measurement go to the trainer's loggers under ``interference/...`` at the step they belong
    to, whatever ``log_every_n_steps`` is. The summary is printed when training ends. Gradient accumulation,
    clipping, manual optimisation and mixed precision need nothing special. Optimisers that take a closure of
    (losses, target), ``SAM`` and ``ClassGradientOptimizer``, need manual optimisation.

    Args:
        every: optimiser steps between two measurements, at least 1.
        seconds: or seconds between them.
        parameters: which parameters: ``"backbone"``, ``"head"``, ``"all"``, a glob over names or a predicate.
        class_names: K names, or K where they have none; by default ``classes`` of the training data set,
            which torchvision's have and a ``TensorDataset`` has not.
        model: ``model(pl_module)`` is the module that returns the logits [N, K]; by default
            ``pl_module.model`` where it is a module, else ``pl_module``.
        target: ``target(batch)`` are the class indices [N]; by default the second item, or ``labels``.
        measure_on: ``"val"`` measures once more at the end, on the first validation loader; see ``result``.
            Of several processes each measures its own share.

    Raises:
        InputError: an unknown ``measure_on``; when training starts: no class names to be found, a strategy
            that shards parameters, no validation loader; at the first batch: no labels to be found.

    Example:
        >>> callback = LightningCallback(every=20, class_names=["cat", "dog"], measure_on="val")
        >>> callback.records, callback.result
        ([], None)
    """

    def __init__(
        self,
        every: int = 20,
        *,
        seconds: float | None = None,
        parameters: Selection = "backbone",
        class_names: Sequence[str] | int | None = None,
        model: Callable[[LightningModule], nn.Module] | None = None,
        target: FindTarget = labels_of,
        measure_on: str | None = None,
    ) -> None:
        super().__init__()
        self._every, self._seconds, self._parameters = every, seconds, parameters
        self._class_names, self._find_model, self._find_target = class_names, model or _logits_module, target
        self._measure_on = measure_on and one_of("measure_on", measure_on, ["val"])
        self.monitor: Monitor | None = None
        self.result: Interference | None = None
        self._listening = self._heard = self._stepped = False

    @property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary a measurement, in the order of training."""
        return self.monitor.records if self.monitor else []

    def summary(self) -> str:
        """What was seen during training, in plain words."""
        return self.monitor.summary() if self.monitor else "Training has not started."

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set up the monitor of this run."""
        _refuse_sharded(trainer)
        if self._measure_on and not trainer.val_dataloaders:
            raise InputError("measure_on='val' needs validation data, got none; pass val_dataloaders to fit")
        names = _class_names(trainer) if self._class_names is None else self._class_names

        def log(record: dict[str, Any]) -> None:
            for logger in trainer.loggers:
                logger.log_metrics(scalars(record), step=trainer.global_step)

        self.result = None
        self._listening = self._heard = self._stepped = False
        self.monitor = Monitor(
            self._find_model(pl_module),
            names,
            parameters=self._parameters,
            every=self._every,
            seconds=self._seconds,
            log=log,
            scaler=getattr(trainer.precision_plugin, "scaler", None),
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tell the monitor the labels of the coming forward pass."""
        if self.monitor:
            self.monitor.begin(self._find_target(batch))
            self._listening = True

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Only a batch's first backward pass is heard: L-BFGS and SAM run several."""
        if self.monitor and self._listening:
            self.monitor.backward_done()
            self._listening, self._heard = False, True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Note that this batch ends an accumulation."""
        self._stepped = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the monitor that the update has been applied."""
        if self.monitor and self._stepped:
            # training_step returned None for all batches of this step; SAM calls backward by itself
            if not (self._heard or self.monitor.has_heard):
                self.monitor.cancel()
            self.monitor.step_done()
            self._heard = self._stepped = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the summary and, on request, measure on the validation data while the model is in place."""
        if trainer.is_global_zero:
            print(self.summary())
        if self._measure_on:
            self.result = self._measured(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave nothing on the model."""
        if self.monitor:
            self.monitor.cancel()

    def _measured(self, trainer: Trainer, pl_module: LightningModule) -> Interference:
        loaders: Any = trainer.val_dataloaders
        first = loaders[0] if isinstance(loaders, list | tuple) else loaders
        names = _class_names(trainer) if self._class_names is None else self._class_names
        return measure(
            self._find_model(pl_module),
            Labelled(first, self._find_target),
            self._parameters,
            class_names=None if isinstance(names, int) else names,
        )


def _logits_module(pl_module: LightningModule) -> nn.Module:
    inner = getattr(pl_module, "model", None)
    return inner if isinstance(inner, nn.Module) else pl_module


def _class_names(trainer: Trainer) -> Sequence[str]:
    loaders = trainer.train_dataloader
    names = getattr(getattr(loaders, "dataset", None), "classes", None)
    if not names:
        raise InputError(
            f"class_names must be given where the training data have no .classes, got {names}; "
            "pass names or the number of classes to LightningCallback"
        )
    return [str(name) for name in names]


def _refuse_sharded(trainer: Trainer) -> None:
    name = type(trainer.strategy).__name__
    if name in _SHARDED:
        raise InputError(
            f"strategy must keep whole parameters on every device, got {name}; use 'ddp', or measure a "
            "checkpoint with tailgrad.measure"
        )
