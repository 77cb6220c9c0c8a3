"""One backward pass for many classes: parameter gradients split by segment as they are made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tailgrad.interference.ordered import ordered
from tailgrad.interference.rules import Call, rule_of, writes_in_place
from tailgrad.interference.trees import leaves

Receive = Callable[[str, int, Tensor], None]
"""(parameter name, first segment, summed gradients [S', numel])"""

Use = tuple[Callable[..., Any], list[Any]]
"""A function that was called with parameters, and which of its arguments run over the examples."""


class NotSplittable(Exception):  # noqa: N818 - it is a finding, not an error
    """A layer whose output does not run over the examples.

    Example:
        >>> raise NotSplittable("first dimension 7 for 3 examples")
        Traceback (most recent call last):
        ...
        tailgrad.interference.split.NotSplittable: first dimension 7 for 3 examples
    """


class Splitter(TorchFunctionMode):
    """While active, every use of a parameter reports its gradient by segment during the backward pass.

    Functions that combine only parameters and what does not depend on the data (buffers, ``arange``) are
    followed: a slice, a cast, a normalised weight, an embedding of positions. Where their result meets data
    the segment gradients are pulled back to the parameters.

    Which arguments of a function run over the examples is told by their first dimension; ``layout``, taken
    from ``seen`` of a trial with an unusual number of examples, rules out chance agreement, and a pass that
    calls other functions than the trial did is refused.

    Args:
        model: the network; its buffers count as constants.
        parameters: the parameters to split, by name.
        receive: told of the gradients; None only looks on (``calls`` is filled).
        observe: leave the computation exactly as it is and only listen (for training); else the parameters'
            own gradients are not computed.

    Example:
        >>> model, data, got = nn.Linear(2, 1, bias=False), torch.ones(3, 2), {}
        >>> splitter = Splitter(model, dict(model.named_parameters()), lambda n, s, g: got.update({n: g}))
        >>> splitter.begin(3, [0, 1, 3])
        >>> with splitter:
        ...     out = model(data)
        >>> splitter.backward(out.sum())
        >>> got["weight"].tolist()
        [[1.0, 1.0], [2.0, 2.0]]
    """

    def __init__(
        self, model: nn.Module, parameters: Mapping[str, Tensor], receive: Receive, *, observe: bool = False
    ) -> None:
        super().__init__()
        self.lost: dict[str, str] = {}
        self.layout: list[Use] | None = None
        self._parameters = dict(parameters)
        self._roots = {id(p): name for name, p in parameters.items()}
        # kept, so that no id is used again
        self._constant = {id(t): t for t in (*model.buffers(), *model.parameters())}
        self.model = model
        self._receive, self._observe = receive, observe
        first = next(iter(parameters.values()))
        self._anchor = torch.zeros((), device=first.device, requires_grad=True)
        self.begin(0, [0])

    def begin(self, length: int, bounds: Sequence[int], order: Tensor | None = None) -> None:
        """Forget the last pass; the next one runs over ``length`` examples in segments.

        ``order`` [length] lists the examples segment by segment where the batch is not sorted that way.
        """
        self._length, self._bounds, self._order = length, list(bounds), order
        self._made: dict[int, tuple[Tensor, set[str]]] = {}
        self._fixed: dict[int, Tensor] = {}  # made without data or parameters
        self.seen: list[Use] = []

    def backward(self, out: Tensor, gradient: Tensor | None = None) -> None:
        """Run the backward pass from an output; what it finds goes to ``receive``."""
        if out.requires_grad:
            torch.autograd.grad(out, [self._anchor], gradient, allow_unused=True)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, and listen where a parameter is among its arguments."""
        kwargs = kwargs or {}
        places = _tensor_places(args, kwargs)
        watched = [place for place, t in places if self._names(t)]
        if not watched:
            out = func(*args, **kwargs)
            if all(self._is_fixed(t) for _, t in places) and all(map(self._is_fixed, leaves([args, kwargs]))):
                self._fixed |= {id(t): t for t in leaves(out)}
            return out
        if all(self._is_fixed(t) or self._names(t) for _, t in places):
            return self._follow(func, args, kwargs, [t for _, t in places])
        return self._listen(func, args, kwargs, places, watched)

    def _names(self, tensor: Tensor) -> set[str]:
        name = self._roots.get(id(tensor))
        if name is not None:
            return {name}
        made = self._made.get(id(tensor))
        return made[1] if made else set()

    def _is_fixed(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on neither data nor watched parameters."""
        # activations written into it give it a graph
        return id(tensor) in self._constant or (id(tensor) in self._fixed and not tensor.requires_grad)

    def _follow(self, func: Callable[..., Any], args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """A function of parameters alone."""
        out = func(*args, **kwargs)
        names = set().union(*map(self._names, tensors))
        for result in leaves(out):
            if not result.requires_grad:
                self._fixed[id(result)] = result
            elif id(result) not in self._roots:
                self._made[id(result)] = (result, names)  # kept, so that its id is not used again
        return out

    def _listen(
        self, func: Callable[..., Any], args: Any, kwargs: Any, places: Any, watched: list[Any]
    ) -> Any:
        tensors = dict(places)
        names = set().union(*(self._names(tensors[place]) for place in watched))
        self._check_use(func)
        call = Call(func, tuple(args), kwargs, watched, self._batched(places))
        self.seen.append((func, call.batched))
        stored = _stored(call, places)
        if self._observe:
            out = func(*args, **kwargs)
        else:
            given = call.replaced({place: tensors[place].detach() for place in watched})
            out = func(*given[0], **given[1])
        if not self._runs_over_examples(out):
            if _needs_grad(out) or not self._observe:
                self.lost |= dict.fromkeys(sorted(names), _name_of(func))
            return out
        receive = self._receiver(stored, {place: tensors[place] for place in watched})
        if not self._observe:
            return _tap(out, self._anchor, receive)
        if out.requires_grad:
            out.register_hook(receive)
        return out

    def _receiver(self, stored: Call, targets: dict[Any, Tensor]) -> Callable[[Tensor], None]:
        # copies without a graph share the version; the tensors themselves would make a cycle with the hook
        versions = [(t, t._version) for _, t in _tensor_places(stored.args, stored.kwargs)]

        def receive(grad: Tensor) -> None:
            self._split(stored, targets, versions, grad)

        return receive

    def _runs_over_examples(self, out: Any) -> bool:
        if not isinstance(out, Tensor) or not out.is_floating_point() or not out.ndim:
            return False
        if out.shape[0] % max(1, self._length) and not self._observe:
            raise NotSplittable(f"first dimension {out.shape[0]} for {self._length} examples")
        return out.shape[0] % max(1, self._length) == 0

    def _batched(self, places: list[tuple[Any, Tensor]]) -> list[Any]:
        if self.layout is not None:
            return self.layout[len(self.seen)][1]
        sized = [(place, t) for place, t in places if t.ndim and t.shape[0] and not self._is_fixed(t)]
        return [place for place, t in sized if self._length and t.shape[0] % self._length == 0]

    def _check_use(self, func: Callable[..., Any]) -> None:
        now = len(self.seen)
        if self.layout is not None and (now >= len(self.layout) or self.layout[now][0] != func):
            raise NotSplittable(f"{_name_of(func)} was not called in the trial")

    def _split(
        self, call: Call, tensors: dict[Any, Tensor], versions: list[tuple[Tensor, int]], grad: Tensor
    ) -> None:
        if any(t._version != version for t, version in versions):
            raise NotSplittable(f"an argument of {_name_of(call.func)} was changed in place")
        with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
            for place, first, stack in self._segments(call, grad):
                self._deliver(tensors[place], first, stack)

    def _segments(self, call: Call, grad: Tensor) -> Iterator[tuple[Any, int, Tensor]]:
        if self._order is not None:
            return ordered(call, grad, self._bounds, self._order)
        ratio = grad.shape[0] // self._length
        return rule_of(call.func, call)(call, grad, [bound * ratio for bound in self._bounds])

    def _deliver(self, tensor: Tensor, first: int, stack: Tensor) -> None:
        name = self._roots.get(id(tensor))
        if name is not None:
            self._receive(name, first, stack.flatten(1))
            return
        names = sorted(self._names(tensor))
        parameters = [self._parameters[name] for name in names]
        for s, gradient in enumerate(stack):
            found = torch.autograd.grad(
                tensor,
                parameters,
                gradient.reshape(tensor.shape).to(tensor.dtype),
                retain_graph=True,
                allow_unused=True,
            )
            for name, g in zip(names, found, strict=True):
                if g is not None:
                    self._receive(name, first + s, g.reshape(1, -1))


class _Tap(torch.autograd.Function):
    """The identity; its backward pass hands the gradient to a listener."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, anchor: Tensor, receive: Callable[[Tensor], None]) -> Tensor:  # noqa: ARG004
        ctx.receive = receive
        if out._is_view():
            return out.view_as(out)
        ctx.mark_dirty(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        ctx.receive(grad)
        return grad, None, None


def _tap(out: Tensor, anchor: Tensor, receive: Callable[[Tensor], None]) -> Tensor:
    result: Tensor = _Tap.apply(out, anchor, receive)  # type: ignore[no-untyped-call]
    return result


def _stored(call: Call, places: list[tuple[Any, Tensor]]) -> Call:
    """The call with arguments that have no graph, and copies of those it is about to overwrite."""
    overwritten = {0} if writes_in_place(call.func) else set()
    plain = {place: t.detach().clone() if place in overwritten else t.detach() for place, t in places}
    args, kwargs = call.replaced(plain)
    return Call(call.func, tuple(args), kwargs, call.watched, call.batched)


def _name_of(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", str(func))


def _needs_grad(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_needs_grad, value))
    return isinstance(value, Tensor) and value.requires_grad


def _tensor_places(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[Any, Tensor]]:
    found: list[tuple[Any, Tensor]] = []
    for place, value in (*enumerate(args), *kwargs.items()):
        if isinstance(value, Tensor):
            found.append((place, value))
        elif isinstance(value, tuple | list):
            found += [((place, i), item) for i, item in enumerate(value) if isinstance(item, Tensor)]
    return found
