"""Which parameters a listener can split by example: a small trial beside the training pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference.listener import Layout, Listener
from tailgrad.interference.trees import Tree, map_leaves

Run = Callable[[Tree], Tensor]
"""inputs -> logits [n, K]"""

_ORDER = torch.tensor([3, 0, 6, 1, 5, 2, 4])  # no parts of it are runs: a wrong row order shows
_BOUNDS = [0, 2, 4, 7]
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}
_ROUNDING = 1e-6  # of the largest gradient: below it a gradient is rounding error


@dataclass(frozen=True, slots=True)
class Splittable:
    """What the trial found.

    Args:
        layout: which arguments run over the examples, for each use of parameters.
        lost: parameter name -> why it cannot be split.

    Example:
        >>> Splittable({}, {"weight": "it is used by lstm"}).lost
        {'weight': 'it is used by lstm'}
    """

    layout: Layout
    lost: dict[str, str]


def find_splittable(model: nn.Module, parameters: Mapping[str, Tensor], run: Run, probe: Tree) -> Splittable:
    """Split the gradients of 7 examples into three parts and compare with plain passes over the parts.

    A sum over parts is right however the rows are dealt out, so that only this shows whether, say, a
    sequence-first layer was split by example. Call it in evaluation mode.

    Args:
        model: the network.
        parameters: to split, by name.
        run: gives the logits.
        probe: inputs of 7 examples, see `trial_rows`.

    Example:
        >>> model = nn.Linear(2, 3)
        >>> find_splittable(model, dict(model.named_parameters()), model, torch.rand(7, 2)).lost
        {}
    """
    try:
        return _compare(model, parameters, run, probe)
    except InputError:
        raise
    except Exception as error:  # whatever a foreign network raises, training must go on
        reason = f"the trial failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        return Splittable({}, dict.fromkeys(parameters, reason))


def examples(inputs: Tree, rows: Tensor, length: int) -> Tree:
    """Some examples of every tensor that runs over ``length`` of them.

    Example:
        >>> examples((torch.arange(3), torch.ones(2)), torch.tensor([2, 0]), 3)
        (tensor([2, 0]), tensor([1., 1.]))
    """

    def pick(tensor: Tensor) -> Tensor:
        if not tensor.ndim or tensor.shape[0] != length:
            return tensor
        return tensor.detach().index_select(0, rows.to(tensor.device))

    return map_leaves(pick, inputs)


def _compare(model: nn.Module, parameters: Mapping[str, Tensor], run: Run, probe: Tree) -> Splittable:
    found: dict[str, Tensor] = {}

    def receive(name: str, first: int, stack: Tensor) -> None:
        rows = found.setdefault(name, stack.new_zeros(len(_BOUNDS) - 1, stack.shape[1]))
        rows[first : first + len(stack)] += stack

    listener = Listener(model, parameters, receive)
    listener.begin(len(_ORDER), _BOUNDS, _ORDER)
    with listener:
        logits = run(probe)
    weights = torch.linspace(-1, 2, logits.numel(), device=logits.device, dtype=logits.dtype).view_as(logits)
    _gradients(logits, parameters, weights)
    lost = {
        name: f"it is used by {what}" if what.isidentifier() else what for name, what in listener.lost.items()
    }
    for s, (low, high) in enumerate(pairwise(_BOUNDS)):
        part = _ORDER[low:high]
        alone = _gradients(
            run(examples(probe, part, len(_ORDER))), parameters, weights[part.to(weights.device)]
        )
        for name in _different(alone, found, s):
            lost.setdefault(name, "its gradient does not run over the examples in order")
    return Splittable(listener.places, lost)


def _gradients(logits: Tensor, parameters: Mapping[str, Tensor], weights: Tensor) -> dict[str, Tensor | None]:
    found = torch.autograd.grad(logits, list(parameters.values()), weights, allow_unused=True)
    return dict(zip(parameters, found, strict=True))


def _different(plain: Mapping[str, Tensor | None], split: Mapping[str, Tensor], segment: int) -> list[str]:
    largest = max((float(g.norm()) for g in plain.values() if g is not None), default=0.0)
    return [
        name
        for name, g in plain.items()
        if _error(g, split[name][segment] if name in split else None) > _allowed(g) + _ROUNDING * largest
    ]


def _error(plain: Tensor | None, split: Tensor | None) -> float:
    if plain is None or split is None:
        there = plain if split is None else split
        return 0.0 if there is None else float(there.norm())
    return float((plain.flatten() - split).norm())


def _allowed(plain: Tensor | None) -> float:
    return 0.0 if plain is None else _TOLERANCE.get(plain.dtype, 5e-2) * float(plain.norm())
