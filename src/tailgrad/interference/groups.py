"""Parameter groups (backbone, head, all, or a selection of one's own) and layers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, nearest
from tailgrad.interference.network import Network
from tailgrad.interference.trees import Tree

Selection = str | Callable[[str, nn.Parameter], bool]
_NAMED = ("backbone", "head", "all")


@dataclass(frozen=True, slots=True)
class Groups:
    """Names of the parameters in each group and layer.

    Args:
        groups: group name -> parameter names; empty groups are left out.
        layers: layer name -> parameter names, every parameter in exactly one layer.
        primary: the group that was asked for.
        blocks: block name (a member of a list or sequence of modules, such as ``layer1.0``; else a child of
            the model) -> parameter names, every parameter in exactly one block.

    Example:
        >>> Groups({"all": ["weight"]}, {"(model)": ["weight"]}, "all").primary
        'all'
    """

    groups: dict[str, list[str]]
    layers: dict[str, list[str]]
    primary: str
    blocks: dict[str, list[str]] = field(default_factory=dict)

    def members(self, name: str | None = None) -> list[str]:
        """Parameter names of a group, block or layer; of the primary group by default.

        Raises:
            InputError: there is none of that name.

        Example:
            >>> Groups({"all": ["weight"]}, {"(model)": ["weight"]}, "all").members("(model)")
            ['weight']
        """
        for family in (self.groups, self.blocks, self.layers):
            if (name or self.primary) in family:
                return family[name or self.primary]
        known = [*self.groups, *self.blocks, *self.layers]
        raise InputError(f"group must be a group, block or layer, got {name!r}; {nearest(str(name), known)}")


def find_groups(network: Network, inputs: Tree, parameters: Selection = "backbone") -> Groups:
    """Resolve ``parameters`` and name every group and layer of the network.

    ``backbone`` is ``model.backbone`` where there is one, else everything outside the last parametrised
    module whose output is the logits; a parameter that both use belongs to the backbone. ``head`` is the
    rest.

    Args:
        network: the network.
        inputs: a few examples [n, ...], needed to see which module returns the logits.
        parameters: a group, a glob over parameter names, or ``predicate(name, parameter) -> bool``.

    Raises:
        InputError: nothing matches, or backbone and head cannot be told apart (the candidates are listed).

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> find_groups(Network(model), torch.zeros(1, 4)).groups["head"]
        ['2.weight', '2.bias']
    """
    names = list(network.parameters)
    backbone, candidates = _backbone(network, inputs)
    groups = {"all": names}
    if backbone is not None:
        head = [name for name in names if name not in backbone]
        groups = {"backbone": [name for name in names if name in backbone], "head": head, **groups}
    if parameters in ("backbone", "head") and not groups.get(str(parameters)):
        raise InputError(_no_group(str(parameters), backbone is not None, candidates))
    primary = parameters if isinstance(parameters, str) else _callable_name(parameters)
    if parameters not in _NAMED:
        groups[primary] = _select(network, parameters)
    groups = {key: value for key, value in groups.items() if value}
    layers = _layers(network)
    return Groups(groups, layers, primary, _blocks(network.model, layers))


def _no_group(group: str, known: bool, candidates: list[str]) -> str:
    if known:
        return (
            f"parameters={group!r} must hold at least one parameter, got none in this model; "
            "choose parameters='all' or a glob over parameter names"
        )
    return (
        f"parameters={group!r} needs model.backbone or one last layer that returns the logits, got several "
        f"candidates for the head: {', '.join(candidates)}; "
        "choose 'all', a glob such as 'features.*', or a callable"
    )


def _callable_name(predicate: Callable[[str, nn.Parameter], bool]) -> str:
    name = getattr(predicate, "__name__", "selected")
    return "selected" if name == "<lambda>" or name in _NAMED else str(name)


def _select(network: Network, parameters: Selection) -> list[str]:
    if callable(parameters):
        chosen = [name for name, p in network.parameters.items() if parameters(name, p)]
        hint = f"it is asked about names such as {next(iter(network.parameters))!r}"
    elif isinstance(parameters, str):
        chosen = [name for name in network.parameters if fnmatchcase(name, parameters)]
        hint = nearest(parameters, [*_NAMED, *network.parameters])
    else:
        raise InputError(
            f"parameters must be a group, a glob or a callable, got {type(parameters).__name__}; "
            f"choose from {', '.join(_NAMED)}"
        )
    if not chosen:
        raise InputError(f"parameters must match at least one parameter, got {parameters!r}; {hint}")
    return chosen


def _backbone(network: Network, inputs: Tree) -> tuple[set[str] | None, list[str]]:
    """Names in the backbone (None where the head cannot be told), and candidates for the head."""
    backbone = getattr(network.model, "backbone", None)
    if isinstance(backbone, nn.Module):
        inside = {id(p) for p in backbone.parameters()}
        return {name for name, p in network.parameters.items() if id(p) in inside}, []
    head, candidates = logit_module(network, inputs)
    if head is None:
        return None, candidates
    in_head = set(network.model.get_submodule(head).modules())
    outside = [module for module in network.model.modules() if module not in in_head]
    shared = {id(p) for module in outside for p in module.parameters(recurse=False)}
    return {name for name, p in network.parameters.items() if id(p) in shared}, []


def logit_module(network: Network, inputs: Tree) -> tuple[str | None, list[str]]:
    """Name of the innermost parametrised module that returns the logits, or None and the candidates."""
    seen, logits = _outputs(network, inputs)
    matches = [name for name, output in seen.items() if _is_same(output, logits)]
    if matches and (matches[0] or len(seen) == 1):
        return matches[0], matches  # a child returns before its parents: the first is the innermost
    owners = list(filter(_layers(network).__contains__, seen))
    wide = [name for name in owners if logits.shape[1] in seen[name].shape[1:]]
    return None, wide or owners[-6:]


def _outputs(network: Network, inputs: Tree) -> tuple[dict[str, Tensor], Tensor]:
    """The tensor each parametrised module returned last, in order of execution, and the logits."""
    seen: dict[str, Tensor] = {}
    modules = {name: m for name, m in network.model.named_modules() if any(True for _ in m.parameters())}
    handles = [module.register_forward_hook(_recorder(name, seen)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            return seen, network.run(inputs)[0]
    finally:
        for handle in handles:
            handle.remove()


def _recorder(name: str, seen: dict[str, Tensor]) -> Callable[[nn.Module, object, object], None]:
    def record(_module: nn.Module, _args: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen[name] = output

    return record


def _is_same(output: Tensor, logits: Tensor) -> bool:
    if output.numel() != logits.numel():
        return False
    # logits in half precision, as under autocast, were copied to float32
    is_cast = output.dtype != logits.dtype and torch.equal(output.to(logits.dtype).view_as(logits), logits)
    return is_cast or output.data_ptr() == logits.data_ptr()


def _layers(network: Network) -> dict[str, list[str]]:
    layers = {}
    for module_name, module in network.model.named_modules():
        own = [name for name, _ in module.named_parameters(prefix=module_name, recurse=False)]
        own = [name for name in own if name in network.parameters]
        if own:
            layers[module_name or "(model)"] = own
    return layers


def _blocks(model: nn.Module, layers: dict[str, list[str]]) -> dict[str, list[str]]:
    blocks: dict[str, list[str]] = {}
    for layer, names in layers.items():
        blocks.setdefault(_block_of(model, layer), []).extend(names)
    return blocks


def _block_of(model: nn.Module, layer: str) -> str:
    """The innermost member of a list or sequence on the way to a layer that is more than a single layer."""
    path = layer.split(".")
    for depth in range(len(path), 0, -1):
        name = ".".join(path[:depth])
        if path[depth - 1].isdigit() and any(True for _ in model.get_submodule(name).children()):
            return name
    return path[0]
