"""Everything that can be named, derived from the code and the YAML files: no second list."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from tailgrad.models import BACKBONES, TimmBackbone
from tailgrad.recipes.combinations import combinations
from tailgrad.recipes.components import components
from tailgrad.recipes.compose import named, overlay

FOLDERS = {"heads": "head", "losses": "loss", "optim": "combination", "augment": "augmentation"}


@dataclass(frozen=True)
class Entry:
    """One thing that can be named.

    Args:
        kind: "method", "regime", "recipe", "backbone", "head", "loss", "combination" or "augmentation".
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
    """Methods, regimes, recipes, backbones, heads, losses, combinations and augmentations.

    Example:
        >>> [entry.name for entry in catalogue() if entry.kind == "method"][:3]
        ['baseline', 'branch_softmax', 'cagrad']
    """
    return [*_overlays(), *_backbones(), *_components()]


def _overlays() -> Iterator[Entry]:
    for kind in ("methods", "regimes", "recipes"):
        for name in named(kind):
            content = overlay(kind, name)
            about = [str(content.get(key, "")) for key in ("description", "paper", "status")]
            yield Entry(kind.removesuffix("s"), name, *about)


def _backbones() -> Iterator[Entry]:
    for name, maker in BACKBONES.items():
        yield Entry("backbone", name, _first_line(maker))
    yield Entry("backbone", "timm/<name>", _first_line(TimmBackbone))


def _first_line(item: object) -> str:
    return (inspect.getdoc(item) or "").split("\n", 1)[0].rstrip(".")


def _components() -> Iterator[Entry]:
    for folder, kind in FOLDERS.items():
        found = combinations() if folder == "optim" else components(folder)
        for name, item in found.items():
            if name != "normalize" and not issubclass(item, BaseException):
                yield Entry(kind, name, _first_line(item))
