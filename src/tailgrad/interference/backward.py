"""Gradients of a pack by segment: one split backward pass where the network allows it, else one a segment."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from tailgrad.interference.network import Network
from tailgrad.interference.packs import Pack
from tailgrad.interference.split import NotSplittable, Splitter, Use
from tailgrad.interference.trees import Tree, cut, join

Cotangent = Callable[[Tensor, int, int], Tensor]
"""(logits [n, K] of examples low to high of the pack, low, high) -> gradient with respect to them [n, K]."""

Forward = Callable[[Tree], tuple[Tensor, Tensor | None]]
"""inputs -> (what the cotangent is for, features)."""

Look = Callable[[Tensor, Tensor | None, int, int], None]
"""(logits, features, low, high): told after each forward pass."""

_SHUFFLED = (4, 1, 6, 3, 0, 5, 2)  # so that what a network does to order shows
_WORDS = 160  # of a reason: some errors go on for pages
_FEWER, _PROBE = 5, 7  # examples of the trials; no layer's width is a multiple of one as well as of the other
_TOLERANCE = 1e-3
_ROUGH = 3e-2  # under autocast
_NOISE = (
    1e-5  # of the largest gradient in its layer: a bias whose gradient cancels holds only rounding errors
)


class Backward:
    """Turns packs into gradients by segment.

    Args:
        network: in evaluation mode.
        names: parameters to differentiate.
        receive: told of (parameter name, first segment, gradients [S', numel]).
        forward: what to run; ``network.run`` by default.
        is_one_input: all labels have the same inputs, so that one trial is enough for all.

    Example:
        >>> network, got = Network(torch.nn.Linear(2, 2, bias=False)), {}
        >>> backward = Backward(network, ["weight"], lambda name, s, g: got.update({name: g}))
        >>> backward.run(Pack(torch.ones(3, 2), [0, 1, 3], [0, 1], [0, 0]), lambda z, *_: torch.ones_like(z))
        >>> got["weight"].tolist()
        [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]]
    """

    def __init__(
        self,
        network: Network,
        names: Sequence[str],
        receive: Callable[[str, int, Tensor], None],
        forward: Forward | None = None,
        *,
        is_one_input: bool = False,
    ) -> None:
        self._is_one_input = is_one_input
        self._parameters = {name: network.parameters[name] for name in names}
        self._receive = receive
        self._forward = forward or network.run
        self._splitter = Splitter(network.model, self._parameters, receive)
        self._whole = True
        self._tried: set[int] = set()
        self.reason = ""
        self.is_coupled: bool | None = None

    def run(self, pack: Pack, cotangent: Cotangent, look: Look | None = None) -> None:
        """One pass over a pack.

        Whether the network can be split is tried on the first pack of several segments, and again where
        classes appear that no trial has seen, since a network may treat them in a way of their own.
        """
        if self.is_coupled is None:
            self.is_coupled = self._couples(_sample(pack, []))
        if len(pack.labels) == 1:
            self._alone(pack, 0, cotangent, look)
            return
        if self._whole and (new := self._untried(pack)):
            self._tried |= set(new)
            self.reason = self._try(_sample(pack, new))
            self._whole = not self.reason
        if not self._whole or not self._together(pack, cotangent, look):
            for s in range(len(pack.labels)):
                self._alone(pack, s, cotangent, look)

    def _untried(self, pack: Pack) -> list[int]:
        if self._is_one_input and self._tried:
            return []
        return sorted(set(pack.labels) - self._tried)

    def _together(self, pack: Pack, cotangent: Cotangent, look: Look | None) -> bool:
        self._splitter.begin(len(pack), pack.bounds)
        try:
            with self._splitter:
                out, features = self._forward(pack.inputs)
            _check_nothing_lost(self._splitter)
        except NotSplittable as found:  # the network went another way than in the trial
            self._whole, self.reason = False, str(found)
            return False
        gradient = cotangent(out.detach(), 0, len(pack))
        if look is not None:
            look(out.detach(), None if features is None else features.detach(), 0, len(pack))
        self._splitter.backward(out, gradient)
        return True

    def _alone(self, pack: Pack, s: int, cotangent: Cotangent, look: Look | None) -> None:
        low, high = pack.bounds[s], pack.bounds[s + 1]
        out, features = self._forward(cut(pack.inputs, low, high) if len(pack.labels) > 1 else pack.inputs)
        gradient = cotangent(out.detach(), low, high)
        if look is not None:
            look(out.detach(), None if features is None else features.detach(), low, high)
        for name, g in zip(self._parameters, self._plain(out, gradient), strict=True):
            if g is not None:  # a parameter that no loss reaches keeps its zero row
                self._receive(name, s, g.reshape(1, -1))

    def _plain(self, out: Tensor, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wanted = list(self._parameters.values())
        if not out.requires_grad:
            return (None,) * len(wanted)
        return torch.autograd.grad(out, wanted, gradient, allow_unused=True)

    def _try(self, inputs: Tree) -> str:
        """Why the split pass does not give what plain passes over two parts give; empty if it does."""
        bounds, found = [0, 2, _PROBE], dict[str, Tensor]()
        splitter = Splitter(self._splitter.model, self._parameters, _collector(found, len(bounds) - 1))
        try:
            splitter.layout = self._splitter.layout or self._layout(inputs)
            splitter.begin(_PROBE, bounds)
            with splitter:
                out, _ = self._forward(inputs)
            weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype, device=out.device).view_as(out)
            splitter.backward(out, weights)
        except (NotSplittable, RuntimeError, TypeError, ValueError, IndexError) as error:
            return (str(error) or type(error).__name__).splitlines()[0][:_WORDS]
        self._splitter.layout = splitter.layout
        return self._compare(inputs, bounds, weights, found)

    def _couples(self, inputs: Tree) -> bool:
        """Whether the logits of examples depend on those beside them (or on chance)."""
        tolerance = (
            _ROUGH
            if torch.is_autocast_enabled(next(iter(self._parameters.values())).device.type)
            else _TOLERANCE
        )
        with torch.no_grad():
            whole = self._forward(inputs)[0]
            parts = [self._forward(cut(inputs, *ends))[0] for ends in ((0, 2), (2, _PROBE))]
        if any(part.shape[1:] != whole.shape[1:] for part in parts):
            return True
        return float((torch.cat(parts) - whole).norm()) > tolerance * float(whole.norm())

    def _layout(self, inputs: Tree) -> list[Use]:
        """Which arguments run over the examples: those whose length follows the number of examples."""
        splitter = Splitter(self._splitter.model, self._parameters, lambda *_: None)
        seen = []
        for number in (_FEWER, _PROBE):
            splitter.begin(number, [0, number])
            with splitter:
                self._forward(cut(inputs, 0, number))
            _check_nothing_lost(splitter)
            seen.append(splitter.seen)
        if [func for func, _ in seen[0]] != [func for func, _ in seen[1]]:
            raise NotSplittable("what it calls depends on the number of examples")
        return [(func, [p for p in few if p in many]) for (func, few), (_, many) in zip(*seen, strict=True)]

    def _compare(
        self, inputs: Tree, bounds: Sequence[int], weights: Tensor, found: Mapping[str, Tensor]
    ) -> str:
        """The first parameter whose gradient by segment is not that of the segment alone."""
        is_rough = torch.is_autocast_enabled(weights.device.type)
        for s, (low, high) in enumerate(pairwise(bounds)):
            out, _ = self._forward(cut(inputs, low, high))
            if out.shape != weights[low:high].shape:
                return f"it returns {list(out.shape)} for {high - low} of {bounds[-1]} examples"
            plain = dict(zip(self._parameters, self._plain(out, weights[low:high]), strict=True))
            split = {name: rows[s] for name, rows in found.items()}
            name = _first_difference(plain, split, _ROUGH if is_rough else _TOLERANCE)
            if name:
                return f"{name!r} does not see one example at a time"
        return ""


def _sample(pack: Pack, labels: Sequence[int]) -> Tree:
    """Examples of a pack for a trial, shuffled: the first of each of these classes, others spread over it."""
    first = dict(zip(reversed(pack.labels), reversed(pack.bounds[:-1]), strict=True))
    wanted = [first[label] for label in labels[:_PROBE]]
    spread = torch.linspace(0, len(pack) - 1, _PROBE).long().tolist()
    chosen = (wanted + [i for i in spread if i not in wanted])[:_PROBE]
    places = (chosen * _PROBE)[:_PROBE]
    return join([cut(pack.inputs, places[i], places[i] + 1) for i in _SHUFFLED])


def _check_nothing_lost(splitter: Splitter) -> None:
    if splitter.lost:
        name, function = min(splitter.lost.items())
        raise NotSplittable(f"{name!r} is used by {function}")


def _collector(found: dict[str, Tensor], segments: int) -> Callable[[str, int, Tensor], None]:
    def receive(name: str, first: int, stack: Tensor) -> None:
        rows = found.setdefault(name, stack.new_zeros(segments, stack.shape[1]))
        rows[first : first + len(stack)] += stack

    return receive


def _first_difference(
    plain: Mapping[str, Tensor | None], split: Mapping[str, Tensor], tolerance: float
) -> str | None:
    norms = {name: 0.0 if g is None else float(g.norm()) for name, g in plain.items()}
    largest: dict[str, float] = {}
    for name, norm in norms.items():
        layer = name.rpartition(".")[0]
        largest[layer] = max(norm, largest.get(layer, 0.0))
    for name, g in plain.items():
        mine = split.get(name)
        error = norms[name] if mine is None else float((mine if g is None else g.flatten() - mine).norm())
        # NaN differs from everything
        if not error <= tolerance * norms[name] + _NOISE * largest[name.rpartition(".")[0]] + 1e-12:
            return name
    return None
