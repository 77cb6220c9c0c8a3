"""What a monitor measures, and how: found at the first forward pass of a measurement."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.frozen import frozen
from tailgrad.interference.buffers import buffers_kept
from tailgrad.interference.evaluation import evaluating
from tailgrad.interference.groups import Selection, find_groups
from tailgrad.interference.network import Network
from tailgrad.interference.splittable import Run, Splittable, examples, find_splittable
from tailgrad.interference.trees import Tree
from tailgrad.interference.trial_rows import trial_rows

_LOOK = 2  # examples from which the groups are found
_TRIALS = 4  # of 7 examples each in one forward pass, at most


@dataclass(slots=True)
class Scope:
    """The parameters measured, and how each of them is.

    Args:
        label: of the parameter group.
        parameters: those that are trained, by name.
        layout: which arguments run over the examples, see `Listener`.
        masked: parameter name -> why it takes one masked backward pass a class.
        unknown: parameter name -> why it is not measured.
        verified: parameters whose contributions were seen to add up to their gradient.
        has_half: whether gradients are in half precision.
        is_coupled: whether a BatchNorm layer used the statistics of the batch.
        tried: classes that a trial has seen.

    Example:
        >>> scope = Scope("all", {"weight": torch.zeros(2)}, {})
        >>> scope.demote(["weight"], "it is odd")
        >>> scope.masked, scope.split
        ({'weight': 'it is odd'}, {})
    """

    label: str
    parameters: dict[str, Tensor]
    layout: dict[Any, Any]
    masked: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    has_half: bool = False
    is_coupled: bool = False
    tried: set[int] = field(default_factory=set)

    @property
    def split(self) -> dict[str, Tensor]:
        """Parameters split by example in the training pass itself."""
        return {n: p for n, p in self.parameters.items() if n not in self.masked and n not in self.unknown}

    @property
    def measured(self) -> dict[str, Tensor]:
        """Parameters that are not unknown."""
        return {n: p for n, p in self.parameters.items() if n not in self.unknown}

    @property
    def is_trusted(self) -> bool:
        """Whether one class's contribution may be taken as what the others leave of the gradient."""
        return not self.has_half and self.verified >= set(self.measured)

    def demote(self, names: Iterable[str], reason: str) -> None:
        """Take what could not be split to masked passes, and what fails there too to the unknown."""
        for name in names:
            self.verified.discard(name)
            if self.masked.pop(name, None) is None and name not in self.unknown:
                self.masked[name] = reason
            else:
                self.unknown[name] = "its gradient does not all come from the logits of the batch"

    def state(self) -> dict[str, Any]:
        """What measurements have taught about the parameters, as JSON can hold it."""
        return {
            "masked": dict(self.masked),
            "unknown": dict(self.unknown),
            "verified": sorted(self.verified),
            "tried": sorted(self.tried),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what a scope of the same parameters had learnt; nothing from an empty state."""
        self.masked |= state.get("masked", {})
        self.unknown |= state.get("unknown", {})
        self.masked = {name: reason for name, reason in self.masked.items() if name not in self.unknown}
        self.verified |= set(state.get("verified", ()))
        self.tried |= set(state.get("tried", ()))

    def take(self, found: Splittable) -> bool:
        """Add what a trial found; whether something can no longer be split."""
        changed = [key for key, places in found.layout.items() if self.layout.get(key, places) != places]
        lost = dict.fromkeys(
            (name for key in changed for name in key[1]), "its use changes with the examples"
        )
        lost = {name: reason for name, reason in (lost | found.lost).items() if name in self.split}
        self.layout |= found.layout
        for name, reason in lost.items():
            self.demote([name], reason)
        return bool(lost)


def find_scope(model: nn.Module, run: Run, inputs: Tree, target: Tensor, selection: Selection) -> Scope:
    """Resolve the parameter group, and try which of its parameters can be split by example.

    The model runs on a few of the examples in evaluation mode; modes, random states and buffers are what
    they were afterwards.

    Args:
        model: the network, about to run its training forward pass.
        run: gives the logits.
        inputs: of that pass.
        target: class indices [N] of their examples, on the CPU.
        selection: a group, a glob over names, or a predicate.

    Raises:
        InputError: no group to be found, or nothing in it is trained.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
        >>> target = torch.arange(9) % 3
        >>> list(find_scope(model, model, torch.rand(9, 2), target, "backbone").split)
        ['0.weight', '0.bias']
    """
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    with _aside(model):
        few = examples(inputs, torch.arange(_LOOK) % len(target), len(target))
        live = _Live(model, run)
        with torch.no_grad():
            live.run(few)
        groups = find_groups(live, few, selection)
        named = dict(model.named_parameters())
        parameters: dict[str, Tensor] = {name: named[name] for name in groups.members() if name in trained}
        if not parameters:
            raise InputError(
                f"parameters={groups.primary!r} must hold a parameter that is trained, got none; "
                "unfreeze one or choose another group"
            )
        scope = Scope(groups.primary, parameters, {})
        if live.length == _LOOK:
            _try(model, run, inputs, target, scope)
        else:
            _check_length(live.length, len(target))
            scope.demote(
                parameters, "the model's inputs do not run over the examples in their first dimension"
            )
    return scope


def try_classes(model: nn.Module, run: Run, inputs: Tree, target: Tensor, scope: Scope) -> bool:
    """Try again where the batch holds classes that no trial has seen; the arguments are `find_scope`'s.

    A branch of the network may be at work for some classes only, and a trial without them cannot judge it.

    Returns:
        Whether something can no longer be split.

    Example:
        >>> model, inputs = nn.Linear(2, 3), torch.rand(9, 2)
        >>> scope = find_scope(model, model, inputs, torch.zeros(9).long(), "all")
        >>> try_classes(model, model, inputs, torch.arange(9) % 3, scope), scope.tried
        (False, {0, 1, 2})
    """
    if not scope.split or scope.tried.issuperset(target.tolist()):
        return False
    with _aside(model):
        return _try(model, run, inputs, target, scope)


def is_coupled(model: nn.Module) -> bool:
    """Whether a BatchNorm layer uses the statistics of the batch.

    Example:
        >>> is_coupled(nn.BatchNorm1d(2)), is_coupled(nn.BatchNorm1d(2).eval())
        (True, False)
    """
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)


def _try(model: nn.Module, run: Run, inputs: Tree, target: Tensor, scope: Scope) -> bool:
    has_lost = False
    for _ in range(_TRIALS):
        if not scope.split or scope.tried.issuperset(target.tolist()):
            break
        rows = trial_rows(target, scope.tried)
        scope.tried.update(target[rows].tolist())
        probe = examples(inputs, rows, len(target))
        has_lost |= scope.take(find_splittable(model, scope.split, run, probe))
    return has_lost


@contextmanager
def _aside(model: nn.Module) -> Iterator[None]:
    device = next(model.parameters()).device
    quiet = torch.autocast(device.type, enabled=False)
    with frozen(), buffers_kept(model), evaluating([model], device), quiet:
        yield


def _check_length(found: int, length: int) -> None:
    if found == length:  # sequence first: a few examples cannot be taken
        return
    raise InputError(
        f"target must hold one label for each example of the batch, got {length} labels for {found} "
        "examples; give begin the labels of this forward pass"
    )


class _Live(Network):
    """The model that is being trained, as it is: no copy in float32, BatchNorm of any kind."""

    def __init__(self, model: nn.Module, run: Run) -> None:
        self.model, self.logits = model, run
        self.parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        self.length = 0

    def run(self, inputs: Tree) -> tuple[Tensor, Tensor | None]:
        logits = self.logits(inputs)
        self.length = len(logits)
        return logits, None
