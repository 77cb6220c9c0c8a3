"""What comes back from one micro-batch: the backward side of a measurement."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tailgrad.frozen import frozen, frozen_since
from tailgrad.interference.buffers import buffers_kept
from tailgrad.interference.listener import HALF, Listener
from tailgrad.interference.measurement import Measurement
from tailgrad.interference.scope import Scope
from tailgrad.interference.segments import Segments
from tailgrad.interference.tally import Tally


class Echo:
    """Takes the gradients of a backward pass by class, and asks for those that cannot be split.

    Args:
        model: whose buffers a masked pass leaves alone.
        measurement: takes the figures.
        scope: the parameters, and how each is measured.
        tally: takes the contributions.
        target: class indices [N].
        segments: how its classes lie in the batch.

    Example: see ``Monitor``.
    """

    def __init__(
        self,
        model: nn.Module,
        measurement: Measurement,
        scope: Scope,
        tally: Tally,
        target: Tensor,
        segments: Segments,
    ) -> None:
        self._model, self._measurement, self._scope, self._tally = model, measurement, scope, tally
        self._target, self._segments = target, segments
        self._logits: Tensor | None = None
        self._listener: Listener | None = None
        self._is_open, self._is_asking = True, False
        self.has_gradients = False
        self._is_aside = frozen_since()
        self._versions = {name: p._version for name, p in scope.measured.items()}
        self._handles = [
            _hooked(parameter, partial(self._on_gradient, name))
            for name, parameter in scope.measured.items()
            if segments.has_rest or name not in scope.verified
        ]

    def listen(self, logits: Tensor, listener: Listener | None) -> None:
        """Wait for the backward pass from these logits."""
        self._target = self._target.to(logits.device)
        self._logits, self._listener = logits, listener
        if logits.requires_grad:
            _hooked(logits, self._on_logits)

    def receive(self, name: str, first: int, stack: Tensor) -> None:
        """Contributions of one parameter, from the listener."""
        if self._is_aside():
            return
        self._arrived()
        if name in self._scope.split:
            self._tally.add(name, first, stack)
            if self._segments.has_rest:
                self._tally.add(name, self._last, -stack.sum(0, keepdim=True))

    def close(self) -> None:
        """Hear no more."""
        for handle in self._handles:
            handle.remove()
        if self._listener is not None and self._is_open:
            self._tally.is_half |= self._listener.has_half
            self._scope.has_half |= self._listener.has_half
            self._give_up(self._listener.lost)
        self._is_open, self._handles = False, []
        self._logits = None  # the hook on the logits holds this object: a cycle that nobody would collect

    def _give_up(self, lost: dict[str, str]) -> None:
        for name in lost.keys() & self._scope.split.keys():  # in the backward pass: part of it was counted
            self._scope.demote([name], lost[name])
            self._measurement.is_broken = True

    @property
    def _last(self) -> int:
        return len(self._segments.classes) - 1

    def _arrived(self) -> None:
        if not self.has_gradients:
            self.has_gradients = True
            self._measurement.backward()

    def _on_gradient(self, name: str, gradient: Tensor) -> None:
        splitting = self._listener is not None and self._listener.is_splitting
        if self._is_open and not self._is_asking and not splitting and not self._is_later(name):
            self._arrived()
            if not self._segments.has_rest:
                self._tally.whole(name, gradient)
            elif name in self._scope.split:
                self._tally.add(name, self._last, gradient.detach().reshape(1, -1))

    def _is_later(self, name: str) -> bool:
        """Whether a further pass of an optimiser's step is at work: declared one, or at moved weights."""
        return self._is_aside() or self._scope.parameters[name]._version != self._versions[name]

    def _on_logits(self, gradient: Tensor) -> None:
        if not self._is_open or self._is_asking or self._is_aside():
            return
        self._arrived()
        self._tally.is_half |= gradient.dtype in HALF
        self._measurement.pull(gradient, self._target)
        if self._scope.masked:
            self._ask_all(gradient)

    def _ask_all(self, gradient: Tensor) -> None:
        self._is_asking = True
        if self._listener is not None:
            self._listener.is_paused = True
        try:
            with frozen(), buffers_kept(self._model):  # a checkpointed layer runs again, BatchNorm and all
                for place, label in enumerate(self._segments.classes):
                    mine = (self._target == label).to(gradient.dtype)
                    self._ask(place, gradient * mine[:, None])
        finally:
            self._is_asking = False
            if self._listener is not None:
                self._listener.is_paused = False

    def _ask(self, place: int, gradient: Tensor) -> None:
        """One masked backward pass: only the examples of one class send a gradient."""
        if self._logits is None or not gradient.any():
            return
        names = list(self._scope.masked)
        wanted = [self._scope.parameters[name] for name in names]
        found: Any = torch.autograd.grad(self._logits, wanted, gradient, retain_graph=True, allow_unused=True)
        for name, g in zip(names, found, strict=True):
            if g is not None:
                row = g.to(torch.promote_types(g.dtype, torch.float32)).reshape(1, -1)
                self._tally.add(name, place, row)


def _hooked(tensor: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    handle: RemovableHandle = tensor.register_hook(hook)  # type: ignore[no-untyped-call]
    return handle
