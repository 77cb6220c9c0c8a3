"""One micro-batch, listened to: armed before its forward pass, closed after its backward pass."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tailgrad.checks import InputError
from tailgrad.distributed import is_spread
from tailgrad.frozen import frozen_since
from tailgrad.interference.echo import Echo
from tailgrad.interference.intercept import Intercept
from tailgrad.interference.listener import Listener
from tailgrad.interference.logits_of import logits_of
from tailgrad.interference.measurement import Measurement
from tailgrad.interference.scope import Scope
from tailgrad.interference.segments import in_segments
from tailgrad.interference.splittable import Run
from tailgrad.interference.trees import Tree

Resolve = Callable[[Run, Tree, Tensor], Scope]
"""(gives the logits of inputs, inputs of the call, labels of their examples) -> what to measure"""


class Ear:
    """Hears the first forward pass with gradients after it was made, and what comes back through it.

    Args:
        model: the module whose output holds the logits.
        target: class indices [N].
        measurement: takes the figures.
        resolve: gives the scope, once the inputs are known.

    Example: see ``Monitor``.
    """

    def __init__(self, model: nn.Module, target: Tensor, measurement: Measurement, resolve: Resolve) -> None:
        self._model, self._measurement, self._resolve = model, measurement, resolve
        self._target = target.detach().cpu()
        self._listener: Listener | None = None
        self._echo: Echo | None = None
        self._is_active = False
        self._is_aside = frozen_since()
        self._handle: RemovableHandle | None = None
        # compiled code does not show its layers
        self._stance = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else None
        self._intercept = Intercept(model, self._enter, self._leave)

    @property
    def has_gradients(self) -> bool:
        """Whether a backward pass came through."""
        return self._echo is not None and self._echo.has_gradients

    @property
    def has_heard(self) -> bool:
        """Whether there was a forward pass."""
        return self._echo is not None

    def enter_now(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin inside a call of the model that has started: its forward pre-hooks are running."""
        self._intercept.close()
        if self._enter(self._model.forward, args, kwargs):
            self._handle = self._model.register_forward_hook(
                lambda _, __, result: self._leave(result), always_call=True
            )

    def close(self) -> None:
        """Stop listening; nothing of it stays with the model."""
        if self._is_active:
            self._leave(None)
        self._stop_waiting()
        if self._handle is not None:
            self._handle.remove()
        if self._echo is not None:
            self._echo.close()
        if self._listener is not None:
            self._listener.is_paused = True

    def _stop_waiting(self) -> None:
        self._intercept.close()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None

    def _enter(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if self.has_heard or not torch.is_grad_enabled() or self._is_aside():
            return False
        inputs: Tree = {"args": args, "kwargs": kwargs}
        scope = self._resolve(partial(_run, method), inputs, self._target)
        is_half = torch.is_autocast_enabled(next(self._model.parameters()).device.type)
        scope.has_half |= is_half
        segments = in_segments(self._target, rest=scope.is_trusted)
        tally = self._measurement.open(scope, segments.classes, whole=is_spread())
        tally.is_half |= is_half
        self._echo = Echo(self._model, self._measurement, scope, tally, self._target, segments)
        self._scope = scope
        if scope.split:
            self._listener = Listener(self._model, scope.split, self._echo.receive, scope.layout)
            self._listener.begin(len(self._target), segments.bounds, segments.order)
            self._listener.__enter__()  # type: ignore[no-untyped-call]
        self._is_active = True
        return True

    def _leave(self, result: Any) -> None:
        if not self._is_active:
            return
        self._is_active = False
        if self._listener is not None:
            self._listener.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._stop_waiting()
        if result is None:
            self._measurement.is_broken = True
        else:
            self._hear(logits_of(result))

    def _hear(self, logits: Tensor) -> None:
        wanted = [len(self._target), self._measurement.num_classes]
        if list(logits.shape) != wanted:
            raise InputError(
                f"the model's logits must be [N, K] = {wanted} for the {wanted[0]} labels given to begin and "
                f"the {wanted[1]} classes given to Monitor, got {list(logits.shape)}; give this batch's "
                "labels and every class"
            )
        self._measurement.forward(logits, self._target.to(logits.device))
        lost = {} if self._listener is None else self._listener.lost
        for name, reason in lost.items():  # told before any gradient came: no need to lose this measurement
            if name in self._scope.split:
                self._scope.demote([name], reason)
        assert self._echo is not None
        self._echo.listen(logits, self._listener)


def _run(method: Callable[..., Any], inputs: Tree) -> Tensor:
    return logits_of(method(*inputs["args"], **inputs["kwargs"]))
