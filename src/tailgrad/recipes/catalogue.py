"""Everything that can be named, derived from the code and the YAML files: no second list."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from tailgrad.recipes.components import components
from tailgrad.recipes.compose import named, overlay

FOLDERS = {"heads": "head", "losses": "loss", "augment": "augmentation"}
BACKBONES = {
    "tripath": "the CSBA paper's tri-path fire network",
    "resnet32": "the CIFAR ResNet of 32 layers",
    "wrn28_10": "WideResNet-28-10",
    "timm/<name>": "any image model of timm",
}


@dataclass(frozen=True)
class Entry:
    """One thing that can be named.

    Args:
        kind: "method", "regime", "recipe", "backbone", "head", "loss" or "augmentation".
        name: as written in recipes and on the command line.
        description: one line.
        paper: source, where there is one.
        status: how well its constants are known.

    Example:
        >>> Entry("head", "csba", "gated branches").kind
        'head'
    """

    kind: str
    name: str
    description: str
    paper: str = ""
    status: str = ""


def catalogue() -> list[Entry]:
    """Methods, regimes, recipes, backbones, heads, losses and augmentations.

    Example:
        >>> [entry.name for entry in catalogue() if entry.kind == "method"][:3]
        ['baseline', 'branch_softmax', 'ce']
    """
    return [*_overlays(), *(Entry("backbone", *item) for item in BACKBONES.items()), *_components()]


def _overlays() -> Iterator[Entry]:
    for kind in ("methods", "regimes", "recipes"):
        for name in named(kind):
            content = overlay(kind, name)
            about = [str(content.get(key, "")) for key in ("description", "paper", "status")]
            yield Entry(kind.removesuffix("s"), name, *about)


def _components() -> Iterator[Entry]:
    for folder, kind in FOLDERS.items():
        for name, item in components(folder).items():
            if name != "normalize" and not issubclass(item, BaseException):
                yield Entry(kind, name, (inspect.getdoc(item) or "").splitlines()[0].rstrip("."))
