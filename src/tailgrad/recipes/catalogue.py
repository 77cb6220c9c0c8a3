"""Everything that can be named, derived from the code and the YAML files: no second list."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from tailgrad.models import BACKBONES, TimmBackbone
from tailgrad.recipes.combinations import combinations
from tailgrad.recipes.components import components
from tailgrad.recipes.compose import named, overlay
from tailgrad.recipes.config import ArchitectureConfig, Section, SharpnessConfig
from tailgrad.untrusted import parse_yaml

PARTS = {
    "heads": "head",
    "losses": "loss",
    "samplers": "sampler",
    "mixers": "mixing",
    "optim": "combination",
    "posthoc": "posthoc",
    "augment": "augmentation",
}
ACTS_ON = {
    "head": "model",
    "loss": "loss",
    "sampler": "sampler",
    "mixing": "data",
    "combination": "optimiser",
    "posthoc": "logits after training",
    "augmentation": "data",
    "architecture": "model",
    "sharpness": "optimiser",
}
ARCHITECTURES = {
    "multi_expert": "several experts that share a backbone's first stages, as in RIDE",
    "bbn": "two branches that share a backbone's first stages, for two samplers, as in BBN",
}
SHARPNESS = {
    "sam": "sharpness-aware minimisation: the gradient at the worst point within a radius",
    "direction": "asymmetric SAM as released: the ascent follows the class-weighted loss",
    "scaled": "asymmetric SAM as described: rare classes' parts of the ascent are longer",
    "per_class": "asymmetric SAM with one ascent for each class of the batch",
    "imbsam": "SAM for the rare classes, plain gradients for the others",
    "cc_sam": "SAM on the classifier with one radius a class",
    "focal_sam": "SAM weighted by class rarity",
    "conflict_sam": "SAM whose ascent follows the classes that others oppose beyond chance",
}


@dataclass(frozen=True)
class Entry:
    """One thing that can be named.

    Args:
        kind: "method", "regime", "recipe", "backbone", "head", "loss", "sampler", "mixing", "combination",
            "posthoc", "augmentation", "architecture" or "sharpness".
        name: as written in recipes and on the command line.
        description: one line.
        paper: source, where there is one.
        status: how well its constants are known.
        acts_on: model, data, sampler, loss, optimiser, or logits after training.
        equation: formula, or its number in the source.
        reading: which of several readings is built.
        published: figures of the source or of public tables.
        ours: figures measured here, with intervals.

    Example:
        >>> Entry("head", "csba", "gated branches").kind
        'head'
    """

    kind: str
    name: str
    description: str
    paper: str = ""
    status: str = ""
    acts_on: str = ""
    equation: str = ""
    reading: str = ""
    published: str = ""
    ours: str = ""


def catalogue() -> list[Entry]:
    """Methods, regimes, recipes, and what they are made of.

    Example:
        >>> [entry.name for entry in catalogue() if entry.kind == "method"][:3]
        ['affine_correction', 'asl', 'asymmetric']
    """
    return [*_overlays(), *_backbones(), *_components(), *_choices()]


@cache
def measured() -> dict[str, list[str]]:
    """Figures of methods in committed studies, as ``docs/generate.py`` writes them.

    Example:
        >>> isinstance(measured(), dict)
        True
    """
    path = files("tailgrad.recipes") / "measured" / "figures.yaml"
    return parse_yaml(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}


def _overlays() -> Iterator[Entry]:
    about = ("description", "paper", "status", "acts_on", "equation", "reading", "published")
    for kind in ("methods", "regimes", "recipes"):
        for name in named(kind):
            content = overlay(kind, name)
            ours = "; ".join(measured().get(name, [])) if kind == "methods" else ""
            yield Entry(
                kind.removesuffix("s"), name, **{key: str(content.get(key, "")) for key in about}, ours=ours
            )


def _backbones() -> Iterator[Entry]:
    for name, maker in BACKBONES.items():
        yield Entry("backbone", name, _first_line(maker))
    yield Entry("backbone", "timm/<name>", _first_line(TimmBackbone))


def _first_line(item: object) -> str:
    return (inspect.getdoc(item) or "").split("\n", 1)[0].rstrip(".")


def _source(item: object) -> str:
    """The paragraph of a docstring that begins with ``Source:``."""
    found = re.search(r"(?s)Source:(.*?)(?:\n\s*\n|\Z)", inspect.getdoc(item) or "")
    return " ".join(found[1].split()).rstrip(".") if found else ""


def _components() -> Iterator[Entry]:
    for part, kind in PARTS.items():
        found: dict[str, Any] = combinations() if part == "optim" else components(part)
        for name, item in found.items():
            if name not in ("normalize", "chain") and not issubclass(item, BaseException):
                yield Entry(kind, name, _first_line(item), _source(item), acts_on=ACTS_ON[kind])


def _choices() -> Iterator[Entry]:
    """Names that a section of the configuration lists itself."""
    sections: dict[str, tuple[type[Section], dict[str, str]]] = {
        "architecture": (ArchitectureConfig, ARCHITECTURES),
        "sharpness": (SharpnessConfig, SHARPNESS),
    }
    for kind, (section, words) in sections.items():
        for name in get_args(section.model_fields["name"].annotation):
            if name in words:
                yield Entry(kind, name, words[name], acts_on=ACTS_ON[kind])
