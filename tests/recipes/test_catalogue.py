"""The catalogue names everything there is, and everything in it can be had."""

from pathlib import Path

import pytest
import torch
import yaml

import tailgrad.recipes as package
from tailgrad.models import BACKBONES, create_model
from tailgrad.recipes.catalogue import PARTS, SHARPNESS, Entry, catalogue
from tailgrad.recipes.components import components
from tailgrad.recipes.compose import compose, named

ENTRIES = catalogue()
ROOT = Path(package.__file__).parent


def of(kind: str) -> list[Entry]:
    return [entry for entry in ENTRIES if entry.kind == kind]


@pytest.mark.parametrize("folder", ["methods", "regimes", "recipes"])
def test_every_yaml_file_is_listed_with_its_own_words(folder: str) -> None:
    listed = {entry.name: entry for entry in of(folder.removesuffix("s"))}
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / folder).glob("*.yaml")}
    assert listed.keys() == files.keys() == set(named(folder))
    for name, content in files.items():
        assert listed[name].description == content["description"]
        assert (listed[name].paper, listed[name].status) == (
            str(content.get("paper", "")),
            str(content.get("status", "")),
        )


@pytest.mark.parametrize("part", ["heads", "losses", "samplers", "mixers", "augment", "posthoc"])
def test_every_exported_component_is_listed_once(part: str) -> None:
    kind = PARTS[part]
    names = [entry.name for entry in of(kind)]
    assert len(names) == len(set(names))
    assert set(names) == set(components(part)) - {"normalize", "chain"}
    assert len(names) >= 4


def test_names_that_a_section_lists_are_described() -> None:
    assert {entry.name for entry in of("sharpness")} == set(SHARPNESS)
    assert {entry.name for entry in of("architecture")} == {"multi_expert", "bbn"}


def test_every_method_says_what_it_acts_on_and_where_it_comes_from() -> None:
    for entry in of("method"):
        assert entry.acts_on, entry.name
        assert entry.status, entry.name


def test_every_backbone_is_listed_and_works() -> None:
    names = {entry.name for entry in of("backbone")}
    assert names == {*BACKBONES, "timm/<name>"}
    model = create_model("resnet32", num_classes=3)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_entry_is_described_in_one_line(entry: Entry) -> None:
    assert len(entry.description) > 10
    assert "\n" not in entry.description
    assert not entry.description.endswith((".", " "))


@pytest.mark.parametrize("method", [entry.name for entry in of("method")])
def test_every_method_composes_with_every_regime_and_names_known_parts(method: str) -> None:
    heads = {entry.name for entry in of("head")} | {"baseline"}
    losses = {entry.name for entry in of("loss")}
    for regime in of("regime"):
        config = compose("somewhere", regime.name, method)
        assert (config.method, config.regime) == (method, regime.name)
        assert config.head.name in heads
        assert config.loss.name in losses
        assert set(config.train.augment) <= {entry.name for entry in of("augmentation")}


def test_no_two_entries_share_kind_and_name() -> None:
    keys = [(entry.kind, entry.name) for entry in ENTRIES]
    assert len(keys) == len(set(keys))
    assert {kind for kind, _ in keys} == {
        *("method", "regime", "recipe", "backbone", "architecture", "sharpness"),
        *PARTS.values(),
    }


def test_errors_and_functions_are_no_components() -> None:
    for folder in ("heads", "losses", "augment"):
        assert all(isinstance(item, type) for item in components(folder).values())
    assert not any("error" in entry.name for entry in ENTRIES)
