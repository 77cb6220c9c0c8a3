"""Cut a backbone in two: the stages that branches share, and those that each owns."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, nearest
from tailgrad.models.backbone import Backbone
from tailgrad.models.evaluating import evaluating
from tailgrad.types import Inputs

_SIDE = 64


def default_share_until(backbone: Backbone, own: int) -> str:
    """The name of the last stage to share so that the last ``own`` large stages are each branch's own.

    A stage is large if it holds two or more layers with a weight matrix. Where there are too few, sequences
    among them are looked into.

    Args:
        backbone: with ``stages``.
        own: large stages to own, at least 1.

    Raises:
        InputError: the backbone has not that many.

    Example:
        >>> from tailgrad.models import CifarResNet, WideResNet
        >>> default_share_until(CifarResNet(), own=2)
        'stage1'
        >>> default_share_until(WideResNet(depth=10, width=1), own=1)
        'stage2'
    """
    net = cast("nn.Module", backbone)
    names = [name for name in backbone.stages if _is_large(net, name)]
    if len(names) <= own:
        names = [name for stage in names for name in _inside(net, stage) if _is_large(net, name)]
    if len(names) <= own:
        raise InputError(
            "share_until must be given for a backbone of few stages, got None for "
            f"{type(backbone).__name__} with stages {', '.join(backbone.stages)}; "
            f"name a submodule such as {backbone.stages[0]!r}"
        )
    return names[-own - 1]


def cut(backbones: Sequence[Backbone], share_until: str) -> nn.Sequential:
    """Take everything up to and including the submodule ``share_until`` out of equally built backbones.

    What was taken out of the first is returned as a sequence; in all of them identities stand in its place,
    so that afterwards ``backbone(shared(images))`` of the first is what ``backbone(images)`` was. This is
    tried on one image.

    Args:
        backbones: changed in place, at least one.
        share_until: a submodule's name, such as ``"stage1"``, ``"stage3.3"`` or ``"net.layer2"``.

    Raises:
        InputError: there is no such submodule, it does not run, or the layers up to it are no chain (a
            vision transformer adds positions between them).

    Example:
        >>> from tailgrad.models import CifarResNet
        >>> backbone = CifarResNet(blocks=1)
        >>> shared = cut([backbone], "stage2")
        >>> [name for name, _ in shared.named_children()], backbone(torch.zeros(1, 32, 16, 16)).shape
        (['stem', 'stage1', 'stage2'], torch.Size([1, 64, 8, 8]))
    """
    nets = [cast("nn.Module", backbone) for backbone in backbones]
    first = nets[0]
    names = [name for name, _ in first.named_modules() if name]
    if share_until not in names:
        hint = nearest(share_until, [*backbones[0].stages, *names])
        raise InputError(f"share_until must name a submodule of the backbone, got {share_until!r}; {hint}")
    image = _probe(backbones[0])
    with evaluating(first), torch.no_grad():
        chain, before = _chain(first, share_until, image)
        layers = [(name.replace(".", "_"), first.get_submodule(name)) for name in chain]
        for net in nets:
            for name in chain:
                replace(net, name)
        shared = nn.Sequential(OrderedDict(layers))
        _check(first, shared, image, before, share_until)
    return shared


def replace(net: nn.Module, name: str) -> None:
    """Put an identity in the place of a submodule.

    Example:
        >>> net = nn.Sequential(nn.ReLU())
        >>> replace(net, "0")
        >>> net[0]
        Identity()
    """
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, nn.Identity())


def _is_large(net: nn.Module, name: str) -> bool:
    stage = net.get_submodule(name)
    return sum(any(p.ndim > 1 for p in m.parameters(recurse=False)) for m in stage.modules()) > 1


def _inside(net: nn.Module, name: str) -> list[str]:
    stage = net.get_submodule(name)
    if not isinstance(stage, nn.Sequential):
        return [name]
    return [f"{name}.{child}" for child, _ in stage.named_children()]


def _probe(backbone: Backbone) -> Inputs:
    """One image (or row) that is no random draw, so that building a model draws its weights alone."""
    first = next(cast("nn.Module", backbone).parameters())
    if callable(example := getattr(backbone, "example", None)):
        row: Inputs = example().to(first.device, first.dtype)
        return row
    height, width = backbone.input_size or (_SIDE, _SIDE)
    ramp = torch.linspace(-1, 1, 3 * height * width, device=first.device, dtype=first.dtype)
    return ramp.view(1, 3, height, width)


def _chain(net: nn.Module, share_until: str, image: Inputs) -> tuple[list[str], Tensor]:
    """The outermost modules that have run when ``share_until`` has, in order, and the output of all."""
    finished: list[str] = []

    def record(name: str) -> None:
        if share_until not in finished:
            finished.append(name)

    handles = [
        module.register_forward_hook(lambda *_, name=name: record(name))
        for name, module in net.named_modules()
        if name
    ]
    try:
        output: Tensor = net(image)
    finally:
        for handle in handles:
            handle.remove()
    if share_until not in finished:
        raise InputError(
            f"share_until must name a submodule that computes features, got {share_until!r}, which did not "
            "run; name an earlier one"
        )
    done = set(finished)
    return [name for name in finished if not _has_ancestor(name, done)], output


def _has_ancestor(name: str, among: set[str]) -> bool:
    path = name.split(".")
    return any(".".join(path[:depth]) in among for depth in range(1, len(path)))


def _check(net: nn.Module, shared: nn.Module, image: Inputs, before: Tensor, share_until: str) -> None:
    try:
        after: Tensor = net(shared(image))
        is_same = after.shape == before.shape and (after.is_meta or torch.allclose(after, before, 1e-4, 1e-4))
        reason = "it computes something else when cut there"
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        is_same, reason = False, (str(error).splitlines() or [type(error).__name__])[0]
    if not is_same:
        raise InputError(
            f"share_until must end a chain of layers, got {share_until!r} of {type(net).__name__} "
            f"({reason}); choose another submodule, or a convolutional network"
        )
