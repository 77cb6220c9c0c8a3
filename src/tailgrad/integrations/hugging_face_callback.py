"""The monitor inside ``transformers.Trainer``."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tailgrad.checks import InputError
from tailgrad.integrations.labels import FindTarget, labels_of
from tailgrad.interference import Monitor
from tailgrad.interference.groups import Selection
from tailgrad.interference.monitor_record import scalars


class HuggingFaceCallback(TrainerCallback):
    """Watch which classes pull the parameters apart while the Hugging Face Trainer trains.

    A ``TrainerCallback`` never sees a batch, so the labels are taken on their way into the model: a forward
    pre-hook reads the ``labels`` argument and leaves it alone. Where the Trainer takes them out first
    (``label_smoothing_factor``, ``compute_loss_func``) they are read one call earlier, after
    ``callback.attach(trainer)``.

    Numbers of each measurement go to ``state.log_history`` under ``interference/...`` (saved with every
    checkpoint), and through ``trainer.log`` to TensorBoard and the like where the callback was attached. The
    summary is printed when training ends.

    Args:
        every: optimiser steps between two measurements, at least 1.
        seconds: or seconds between them.
        parameters: which parameters: ``"backbone"``, ``"head"``, ``"all"``, a glob over names or a predicate.
        class_names: K names, or K; by default ``model.config.id2label``.
        target: ``target(arguments)`` are the class indices [N] among the keyword arguments of the model;
            ``labels`` by default.

    Raises:
        InputError: when training starts: no class names to be found, sharded parameters, several GPUs in one
            process; at the first batch: no labels to be found.

    Example:
        >>> HuggingFaceCallback(every=20, class_names=["cat", "dog"]).records
        []
    """

    def __init__(
        self,
        every: int = 20,
        *,
        seconds: float | None = None,
        parameters: Selection = "backbone",
        class_names: Sequence[str] | int | None = None,
        target: FindTarget = labels_of,
    ) -> None:
        self._every, self._seconds, self._parameters = every, seconds, parameters
        self._class_names, self._find_target = class_names, target
        self.monitor: Monitor | None = None
        self._trainer: Trainer | None = None
        self._hook: RemovableHandle | None = None
        self._inputs: Mapping[str, Any] = {}  # of the batch, where attached
        self._waiting: list[dict[str, Any]] = []
        self._listening = False

    @property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary a measurement, in the order of training."""
        return self.monitor.records if self.monitor else []

    def summary(self) -> str:
        """What was seen during training, in plain words."""
        return self.monitor.summary() if self.monitor else "Training has not started."

    def attach(self, trainer: Trainer) -> Trainer:
        """Add this callback to a trainer, log through it, and read labels before it takes them out.

        Args:
            trainer: a trainer that has not started; its ``compute_loss`` is wrapped.

        Returns:
            The same trainer.

        Example: ``callback.attach(trainer).train()``.
        """
        inner = trainer.compute_loss

        def compute_loss(model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            self._inputs = dict(inputs)
            try:
                return inner(model, inputs, *args, **kwargs)
            finally:
                self._inputs = {}

        trainer.compute_loss = compute_loss  # type: ignore[method-assign]
        self._trainer = trainer
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)
        return trainer

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Set up the monitor of this run."""
        _refuse_split_models(args)
        assert model is not None
        self._let_go()  # a run that was interrupted leaves its hook behind
        names = _class_names(model) if self._class_names is None else self._class_names
        self._listening, self._waiting = False, []
        self.monitor = Monitor(
            model,
            names,
            parameters=self._parameters,
            every=self._every,
            seconds=self._seconds,
            log=self._waiting.append,
            scaler=getattr(optimizer, "scaler", None),
        )
        self._hook = model.register_forward_pre_hook(self._before_forward, with_kwargs=True)

    def _before_forward(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        # Evaluation passes here too, and some losses run the model twice.
        if self.monitor and module.training and torch.is_grad_enabled() and not self._listening:
            self.monitor.begin(self._target(kwargs), call=(args, kwargs))
            self._listening = True

    def _target(self, kwargs: dict[str, Any]) -> torch.Tensor:
        try:
            return self._find_target({**self._inputs, **kwargs})
        except (InputError, KeyError) as error:
            if self._trainer is not None:
                raise
            raise InputError(
                f"labels must reach the model, got {', '.join(kwargs)} only ({error}); where the Trainer "
                "takes labels out for a loss of its own, call callback.attach(trainer) before training"
            ) from error

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The backward pass of a batch that is only accumulated is over."""
        self._backward_done()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The backward pass of the last batch before a step is over."""
        self._backward_done()

    def _backward_done(self) -> None:
        if self.monitor and self._listening:
            self.monitor.backward_done()
        self._listening = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The update has been applied: finish a measurement, and log it under this step."""
        if self.monitor:
            self.monitor.step_done()
        while self._waiting:
            self._log(scalars(self._waiting.pop(0)), state, control)

    def _log(self, numbers: dict[str, float], state: TrainerState, control: TrainerControl) -> None:
        if self._trainer is None:
            state.log_history.append({**numbers, "epoch": state.epoch, "step": state.global_step})
            return
        wanted = control.should_log
        self._trainer.log(numbers)
        control.should_log = wanted  # any log clears it, and the Trainer's own of this step would be lost

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Print the summary and take the hook off the model."""
        self._let_go()
        if state.is_world_process_zero:
            print(self.summary())

    def _let_go(self) -> None:
        if self.monitor is not None:
            self.monitor.cancel()
        if self._hook is not None:
            self._hook.remove()
        self._hook = None


def _class_names(model: nn.Module) -> list[str]:
    names = getattr(getattr(model, "config", None), "id2label", None)
    if not names:
        raise InputError(
            f"class_names must be given where model.config has no id2label, got {names}; pass names or the "
            "number of classes to HuggingFaceCallback"
        )
    return [str(names[k]) for k in sorted(names)]


def _refuse_split_models(args: TrainingArguments) -> None:
    if args.deepspeed or args.fsdp:
        kind = "deepspeed" if args.deepspeed else "fsdp"
        raise InputError(
            f"training arguments must keep whole parameters on every device, got {kind}; use plain data "
            "parallelism, or measure a checkpoint with tailgrad.measure"
        )
    if args.n_gpu > 1:
        raise InputError(
            f"one process must train on one GPU, got n_gpu={args.n_gpu}; start with torchrun or set "
            "CUDA_VISIBLE_DEVICES"
        )
