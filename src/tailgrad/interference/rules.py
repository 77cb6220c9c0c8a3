"""Parameter gradients by segment, from what entered a layer and the gradient that came back to its output."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_STACK = 2**24  # numbers in one stack of segment gradients: 64 MiB


@dataclass(frozen=True, slots=True)
class Call:
    """One use of parameters during a forward pass.

    Args:
        func: the function that was called.
        args: its positional arguments, tensors without a graph.
        kwargs: its keyword arguments.
        watched: place of each argument that is a parameter, or made of parameters.
        batched: place of each argument whose first dimension runs over the examples.

    Example:
        >>> Call(F.linear, (torch.ones(2, 3), torch.ones(1, 3)), {}, [1], [0]).at(1).shape
        torch.Size([1, 3])
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    watched: list[Any]
    batched: list[Any]

    def at(self, place: Any) -> Any:
        """The argument at a place: a position, a name, or (position, index) inside a list."""
        if isinstance(place, tuple):
            return self.at(place[0])[place[1]]
        return self.kwargs[place] if isinstance(place, str) else self.args[place]

    def replaced(self, values: dict[Any, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments with some of them replaced."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for place, value in values.items():
            if isinstance(place, tuple):
                holder: Any = kwargs if isinstance(place[0], str) else args
                items = list(holder[place[0]])
                items[place[1]] = value
                holder[place[0]] = items
            elif isinstance(place, str):
                kwargs[place] = value
            else:
                args[place] = value
        return args, kwargs

    def replaced_by(self, values: dict[Any, Any]) -> "Call":
        """The same call with some of its arguments replaced."""
        args, kwargs = self.replaced(values)
        return replace(self, args=tuple(args), kwargs=kwargs)

    def option(self, position: int, name: str, default: Any) -> Any:
        """An argument given by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)


Rule = Callable[[Call, Tensor, Sequence[int]], Iterator[tuple[Any, int, Tensor]]]
"""(call, gradient of the output, segment bounds) -> (place, first segment, gradients [S', *shape]) ..."""


def linear(call: Call, grad: Tensor, bounds: Sequence[int]) -> Iterator[tuple[Any, int, Tensor]]:
    """``grad' a`` of each segment.

    Example:
        >>> call = Call(F.linear, (torch.eye(2), torch.ones(1, 2)), {}, [1], [0])
        >>> [g.tolist() for _, _, g in linear(call, torch.ones(2, 1), [0, 1, 2])]
        [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    """
    inputs = call.args[0].to(grad.dtype)
    for place in call.watched:
        like = call.at(place)
        if like.ndim == 1:
            yield place, 0, by_segment(grad.flatten(1, -2) if grad.ndim > 2 else grad, bounds)
        else:
            yield from _stacked(
                place, like, bounds, lambda s: grad[s].flatten(0, -2).T @ inputs[s].flatten(0, -2)
            )


def convolution(call: Call, grad: Tensor, bounds: Sequence[int]) -> Iterator[tuple[Any, int, Tensor]]:
    """The weight gradient of each segment, by the kernel that autograd uses.

    Example:
        >>> call = Call(F.conv1d, (torch.ones(2, 1, 3), torch.ones(1, 1, 2)), {}, [1], [0])
        >>> [g.tolist() for _, _, g in convolution(call, torch.ones(2, 1, 2), [0, 2])]
        [[[[[4.0, 4.0]]]]]
    """
    inputs, weight = call.args[0].to(grad.dtype), call.option(1, "weight", None).to(grad.dtype)
    dims = weight.ndim - 2
    stride, padding, dilation = (
        _spread(call.option(3 + i, name, default), dims)
        for i, (name, default) in enumerate([("stride", 1), ("padding", 0), ("dilation", 1)])
    )
    groups = call.option(6, "groups", 1)

    def weight_gradient(s: slice) -> Tensor:
        result: Tensor
        _, result, _ = torch.ops.aten.convolution_backward(
            grad[s], inputs[s], weight, None, stride, padding, dilation, False, [0] * dims, groups,
            [False, True, False],
        )  # fmt: skip
        return result

    for place in call.watched:
        like = call.at(place)
        if like.ndim == 1:
            yield place, 0, by_segment(grad.flatten(2).sum(2), bounds)
        else:
            yield from _stacked(place, like, bounds, weight_gradient)


def batch_norm(call: Call, grad: Tensor, bounds: Sequence[int]) -> Iterator[tuple[Any, int, Tensor]]:
    """``sum grad x_hat`` and ``sum grad`` of each segment, ``x_hat`` by the statistics the layer used.

    Example:
        >>> args = (torch.tensor([[1.0], [3.0]]), torch.zeros(1), torch.ones(1), torch.ones(1), torch.ones(1))
        >>> call = Call(F.batch_norm, args, {"eps": 0.0}, [3, 4], [0])
        >>> [g.tolist() for _, _, g in batch_norm(call, torch.ones(2, 1), [0, 1, 2])]
        [[[1.0], [3.0]], [[1.0], [1.0]]]
    """
    inputs = call.args[0]
    mean, variance = call.option(1, "running_mean", None), call.option(2, "running_var", None)
    if call.option(5, "training", False) or mean is None:
        inputs = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        mean, variance = _statistics(inputs)
    scale = (variance + call.option(7, "eps", 1e-5)).rsqrt()
    plain = _over_space(grad)  # [N, C]
    product = (_over_space(grad, inputs) - mean * plain) * scale
    weight = call.option(3, "weight", None)
    for place in call.watched:
        yield place, 0, by_segment(product if call.at(place) is weight else plain, bounds)


def _statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, from sums over positions: ten times as fast as var_mean on a CPU."""
    exact = torch.float32 if inputs.device.type == "mps" else torch.float64
    numbers = inputs.numel() / inputs.shape[1]
    mean = _over_space(inputs).to(exact).sum(0) / numbers
    square = _over_space(inputs, inputs).to(exact).sum(0) / numbers
    return mean.to(inputs.dtype), (square - mean.square()).clamp(min=0).to(inputs.dtype)


def _over_space(grad: Tensor, other: Tensor | None = None) -> Tensor:
    """[N, C] sums over positions of grad, or of grad times another tensor."""
    if grad.ndim == 2:
        return grad if other is None else grad * other
    flat = grad.flatten(2)
    if other is None:
        return flat.sum(2)
    return (flat * other.flatten(2)).sum(2)  # twice as fast on a CPU as any batched dot product


def layer_norm(call: Call, grad: Tensor, bounds: Sequence[int]) -> Iterator[tuple[Any, int, Tensor]]:
    """``sum grad x_hat`` and ``sum grad`` of each segment over everything but the normalised dimensions.

    Example:
        >>> args = (torch.tensor([[1.0, -1.0]]), (2,), torch.ones(2))
        >>> call = Call(F.layer_norm, args, {"eps": 0.0}, [2], [0])
        >>> [g.tolist() for _, _, g in layer_norm(call, torch.ones(1, 2), [0, 1])]
        [[[1.0, -1.0]]]
    """
    shape = tuple(call.option(1, "normalized_shape", ()))
    weight = call.option(2, "weight", None)
    middle = list(range(1, grad.ndim - len(shape)))
    for place in call.watched:
        value = grad
        if call.at(place) is weight:
            value = grad * F.layer_norm(call.args[0], shape, None, None, call.option(4, "eps", 1e-5))
        yield place, 0, by_segment((value.sum(middle) if middle else value).flatten(1), bounds)


def recompute(call: Call, grad: Tensor, bounds: Sequence[int]) -> Iterator[tuple[Any, int, Tensor]]:
    """Any other function: called again on each segment, and differentiated.

    Example:
        >>> call = Call(torch.mul, (torch.tensor([[2.0], [3.0]]), torch.ones(1)), {}, [1], [0])
        >>> [g.tolist() for _, _, g in recompute(call, torch.ones(2, 1), [0, 1, 2])]
        [[[2.0]], [[3.0]]]
    """
    for s in range(len(bounds) - 1):
        part = slice(bounds[s], bounds[s + 1])
        values = {place: call.at(place)[part] for place in call.batched}
        if writes_in_place(call.func) and 0 in values:
            values[0] = values[0].clone()
        for place in call.watched:
            values[place] = values.get(place, call.at(place)).detach().requires_grad_()
        args, kwargs = call.replaced(values)
        with torch.enable_grad():
            out = call.func(*args, **kwargs)
        wanted = [values[place] for place in call.watched]
        found = torch.autograd.grad(out, wanted, grad[part].to(out.dtype), allow_unused=True)
        for place, gradient in zip(call.watched, found, strict=True):
            if gradient is not None:
                yield place, s, _whole(gradient, call, place, part)[None]


def writes_in_place(func: Callable[..., Any]) -> bool:
    """Whether a function overwrites its first argument, by PyTorch's way of naming such functions.

    Example:
        >>> writes_in_place(torch.Tensor.mul_), writes_in_place(torch.Tensor.mul)
        (True, False)
    """
    name = getattr(func, "__name__", "")
    return name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))


def _whole(gradient: Tensor, call: Call, place: Any, part: slice) -> Tensor:
    if place not in call.batched:
        return gradient
    whole = torch.zeros_like(call.at(place))
    whole[part] = gradient
    return whole


def by_segment(values: Tensor, bounds: Sequence[int]) -> Tensor:
    """Sums [S, ...] of values [n, ...] over each segment, over tokens too ([n, T, D] -> [S, D]).

    Example:
        >>> by_segment(torch.tensor([[1.0], [2.0], [4.0]]), [0, 1, 3])
        tensor([[1.],
                [6.]])
    """
    if values.ndim > 2:
        values = values.sum(1)
    owner = torch.repeat_interleave(torch.tensor(bounds).diff()).to(values.device)
    return values.new_zeros(len(bounds) - 1, *values.shape[1:]).index_add_(0, owner, values)


def _stacked(
    place: Any, like: Tensor, bounds: Sequence[int], gradient: Callable[[slice], Tensor]
) -> Iterator[tuple[Any, int, Tensor]]:
    segments = [slice(low, high) for low, high in pairwise(bounds)]
    room = max(1, _STACK // like.numel())
    for first in range(0, len(segments), room):
        yield place, first, torch.stack([gradient(s) for s in segments[first : first + room]])


def _spread(value: Any, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else list(value)


def rule_of(func: Callable[..., Any], call: Call) -> Rule:
    """The rule for a function: a fast one where there is one, else ``recompute``.

    Example:
        >>> rule_of(F.linear, Call(F.linear, (), {}, [], [])) is linear
        True
    """
    if func in _CONVOLUTIONS and not isinstance(call.option(4, "padding", 0), str):
        return convolution
    return _FAST.get(func, recompute)


_IN_PLACE = ("__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__", "__ipow__")
_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_FAST: dict[Any, Rule] = {F.linear: linear, F.batch_norm: batch_norm, F.layer_norm: layer_norm}
