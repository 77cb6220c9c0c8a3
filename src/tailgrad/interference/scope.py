"""What a monitor measures, and how: found at the first forward pass of a measurement."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference.buffers import buffers_kept
from tailgrad.interference.evaluation import evaluating
from tailgrad.interference.groups import Selection, find_groups
from tailgrad.interference.network import Network
from tailgrad.interference.splittable import Run, Splittable, examples, find_splittable
from tailgrad.interference.trees import Tree

_LOOK = 2  # examples from which the groups are found


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
            if self.masked.pop(name, None) is None and name not in self.unknown:
                self.masked[name] = reason
            else:
                self.unknown[name] = "its gradient does not all come from the logits of the batch"


def find_scope(model: nn.Module, run: Run, inputs: Tree, length: int, selection: Selection) -> Scope:
    """Resolve the parameter group, and try which of its parameters can be split by example.

    The model runs on a few of the examples in evaluation mode; modes, random states and buffers are what
    they were afterwards.

    Args:
        model: the network, about to run its training forward pass.
        run: gives the logits.
        inputs: of that pass.
        length: examples in them.
        selection: a group, a glob over names, or a predicate.

    Raises:
        InputError: no group to be found, or nothing in it is trained.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
        >>> list(find_scope(model, model, torch.rand(9, 2), 9, "backbone").split)
        ['0.weight', '0.bias']
    """
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    device = next(model.parameters()).device
    quiet = torch.autocast(device.type, enabled=False)
    with buffers_kept(model), evaluating([model], device), quiet:
        few = examples(inputs, torch.arange(_LOOK) % length, length)
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
        found = _try(live, parameters, inputs, length)
    return Scope(groups.primary, parameters, found.layout, masked=found.lost)


def _try(live: "_Live", parameters: dict[str, Tensor], inputs: Tree, length: int) -> Splittable:
    if live.length == _LOOK:
        return find_splittable(live.model, parameters, live.logits, inputs, length)
    if live.length == length:  # sequence first: a few examples cannot be taken
        reason = "the model's inputs do not run over the examples in their first dimension"
        return Splittable({}, dict.fromkeys(parameters, reason))
    raise InputError(
        f"target must hold one label for each example of the batch, got {length} labels for {live.length} "
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
