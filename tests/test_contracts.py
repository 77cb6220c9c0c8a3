"""What every exported component promises, derived from each folder's ``__all__``.

What is peculiar to a kind of component stands in ``tests/<folder>/test_<kind>_contract.py``.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from types import UnionType
from typing import Any

import pytest
import torch
from torch import nn

import tailgrad
from tailgrad.checks import InputError
from tailgrad.optim.asymmetric_sam import VARIANTS
from tailgrad.recipes.components import components

FOLDERS = (
    "data",
    "augment",
    "heads",
    "losses",
    "models",
    "samplers",
    "interference",
    "optim",
    "posthoc",
    "evaluate",
    "engine",
    "report",
    "recipes",
    "integrations",
    "ship",
)
PARTS = ("heads", "losses", "samplers", "augment", "mixers", "posthoc")
COUNTS = [50, 20, 5]
GIVEN: dict[str, Any] = {
    "target": [0, 1, 2, 0],
    "channels": 16,
    "num_classes": 3,
    "class_counts": COUNTS,
    "mean": [0.5],
    "std": [0.2],
    "steps": [],
    "vectors": torch.eye(3),
    "cost": 1 - torch.eye(3),
    "epochs": 3,
    "batch_size": 3,
    "m": 1,
    "phase": 1,
    "classifier": nn.Linear(4, 3),
}
ANYTHING = {
    "seed": "every number is a seed",
    "batch_size": "goes with the number of classes, tested with the samplers",
}

ANY_SIGN = {
    "power": "of the counts, below 0 where rare classes come more often",
    "factor": "of a diversity that is rewarded or punished",
}


def _exported() -> list[tuple[str, str]]:
    return [(folder, name) for folder in FOLDERS for name in import_module(f"tailgrad.{folder}").__all__]


def _components() -> dict[str, Callable[..., Any]]:
    found = {f"{part}.{name}": item for part in PARTS for name, item in components(part).items()}
    return found | {f"sam.{name}": item for name, item in VARIANTS.items()}


COMPONENTS = _components()


def _make(item: Callable[..., Any], **options: Any) -> Any:
    known = inspect.signature(item).parameters
    if "defer" in known and "weights" in known:  # else beta and defer would not be looked at
        options = {"weights": "effective"} | options
    return item(**{key: value for key, value in GIVEN.items() if key in known} | options)


def _impossible() -> Iterator[tuple[str, str, object]]:
    """Every number of every component no number, or far below 0; every word an unknown one."""
    for name, item in COMPONENTS.items():
        for option, parameter in inspect.signature(item).parameters.items():
            if option in ANYTHING:
                continue
            wanted = parameter.annotation
            kinds = set(wanted.__args__) if isinstance(wanted, UnionType) else {wanted}
            if kinds & {int, float}:
                yield name, option, math.nan
                if option not in ANY_SIGN:
                    yield name, option, -1e9
            if str in kinds:
                yield name, option, "nonsense"


@pytest.mark.parametrize(("folder", "name"), _exported())
def test_exports_exist_and_are_documented(folder: str, name: str) -> None:
    item = getattr(import_module(f"tailgrad.{folder}"), name)
    if inspect.isclass(item) or inspect.isfunction(item):
        text = inspect.getdoc(item) or ""
        assert text.splitlines()[0].endswith("."), f"{name}: the first line is not a sentence"
        assert "Example" in text, f"{name} has no example"


@pytest.mark.parametrize("folder", FOLDERS)
def test_exports_are_sorted_and_unique(folder: str) -> None:
    names = import_module(f"tailgrad.{folder}").__all__
    assert len(names) == len(set(names))
    constants = [n for n in names if n.isupper() and len(n) > 1]
    natural = {n: re.sub(r"\d+", lambda found: found[0].zfill(4), n) for n in names}
    assert sorted(names, key=lambda n: (n not in constants, not n[0].isupper(), natural[n])) == list(names)


def test_the_top_level_names_resolve() -> None:
    for name in tailgrad.__all__:
        assert callable(getattr(tailgrad, name))
    assert set(tailgrad.__all__) <= set(dir(tailgrad))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tailgrad.nothing


@pytest.mark.parametrize("part", PARTS)
def test_a_component_lives_in_the_file_of_its_name(part: str) -> None:
    for name, item in components(part).items():
        stem = item.__module__.rsplit(".", 1)[1]
        # any.py would be a builtin's name: the suffix may stay
        assert stem in {name, f"{name}_loss"}, f"{item.__name__} lives in {stem}.py"


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_state_their_source_and_what_they_refuse(name: str) -> None:
    text = inspect.getdoc(COMPONENTS[name]) or ""
    assert "Example" in text
    if name != "augment.normalize":  # arithmetic
        assert "Source:" in text
    own = COMPONENTS[name].__init__ is not object.__init__ and inspect.signature(COMPONENTS[name]).parameters
    assert not own or "Raises:" in text or name == "posthoc.chain"


@pytest.mark.parametrize(("name", "option", "value"), list(_impossible()))
def test_impossible_options_are_refused_with_their_value(name: str, option: str, value: object) -> None:
    _make(COMPONENTS[name])
    with pytest.raises(InputError, match=rf"(?s){option}.*{value}"):
        _make(COMPONENTS[name], **{option: value})


@pytest.mark.parametrize(
    "name", [n for n, i in COMPONENTS.items() if "class_counts" in inspect.signature(i).parameters]
)
@pytest.mark.parametrize("counts", [[5, 0, 3], [5, -1, 3], [5, math.nan, 3]])
def test_impossible_counts_are_refused_with_their_value(name: str, counts: list[float]) -> None:
    with pytest.raises(InputError, match=rf"class_counts\[1\]={counts[1]}"):
        _make(COMPONENTS[name], class_counts=counts)
