"""A splitter for training: it only looks on, and nothing it meets can stop the backward pass."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.interference.rules import Call
from tailgrad.interference.split import NotSplittable, Receive, Splitter

Key = tuple[Any, frozenset[str], int]
"""(function, names of the parameters, how many times before)"""

Layout = dict[Key, list[Any]]
"""For each use of parameters, which arguments run over the examples."""

HALF = (torch.float16, torch.bfloat16)
"""Types whose gradients are summed in single precision."""


class Listener(Splitter):
    """Reports parameter gradients by segment from a backward pass that trains, and changes nothing in it.

    What cannot be split is noted in ``lost`` and left out. Gradients in half precision are summed in float32.

    Args:
        model: the network.
        parameters: the parameters to split, by name.
        receive: told of the gradients.
        layout: ``places`` of an earlier trial; a use that it does not hold is not split. None guesses.

    Example:
        >>> model, got = nn.Linear(2, 1, bias=False), {}
        >>> listener = Listener(model, dict(model.named_parameters()), lambda n, s, g: got.update({n: g}))
        >>> inputs = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> listener.begin(2, [0, 1, 2], torch.tensor([1, 0]))
        >>> with listener:
        ...     out = model(inputs)
        >>> out.sum().backward()
        >>> got["weight"].tolist(), model.weight.grad.tolist()
        ([[3.0, 4.0], [1.0, 2.0]], [[4.0, 6.0]])
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, Tensor],
        receive: Receive,
        layout: Layout | None = None,
    ) -> None:
        self.known = layout
        self.is_paused = self.is_splitting = self.has_half = False
        super().__init__(model, parameters, receive, observe=True)

    def begin(self, length: int, bounds: Sequence[int], order: Tensor | None = None) -> None:
        """Forget the last pass; see `Splitter.begin`."""
        super().begin(length, bounds, order)
        self.places: Layout = {}
        self._uses: Counter[tuple[Any, frozenset[str]]] = Counter()

    def _listen(
        self, func: Callable[..., Any], args: Any, kwargs: Any, places: Any, watched: list[Any]
    ) -> Any:
        tensors = dict(places)
        names = frozenset().union(*(self._names(tensors[place]) for place in watched))
        self._use = (func, names, self._uses[func, names])
        self._uses[func, names] += 1
        if self.known is not None and self._use not in self.known:
            self._lose(names, f"its use in {getattr(func, '__name__', func)} was not seen in evaluation mode")
            return func(*args, **kwargs)
        return super()._listen(func, args, kwargs, places, watched)

    def _batched(self, places: list[tuple[Any, Tensor]]) -> list[Any]:
        found = super()._batched(places) if self.known is None else self.known[self._use]
        self.places[self._use] = found
        return found

    def _split(
        self, call: Call, tensors: dict[Any, Tensor], versions: list[tuple[Tensor, int]], grad: Tensor
    ) -> None:
        if self.is_paused:
            return
        self.is_splitting = True
        if grad.dtype in HALF:
            self.has_half, grad = True, grad.float()
        try:
            super()._split(call, tensors, versions, grad)
        except (NotSplittable, RuntimeError, TypeError, ValueError, IndexError) as error:
            names = frozenset().union(*map(self._names, tensors.values()))
            self._lose(names, str(error).split("\n")[0] or type(error).__name__)
        finally:
            self.is_splitting = False

    def _lose(self, names: frozenset[str], reason: str) -> None:
        for name in names:
            self.lost.setdefault(name, reason)
