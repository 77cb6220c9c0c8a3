from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.recipes.components import build, components, snake
from tailgrad.recipes.compose import compose, merge, named, overlay, parse_set, validate
from tailgrad.recipes.config import METHOD_KEYS, Config

KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    st.integers(0, 9), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@given(TREES, TREES)
def test_the_last_overlay_wins_everywhere(below: dict[str, Any], above: dict[str, Any]) -> None:
    merged = merge(below, above)

    def holds(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return isinstance(whole, dict) and all(holds(v, whole[k]) for k, v in part.items())
        return bool(part == whole)

    assert holds(above, merged)
    assert set(merged) == set(below) | set(above)
    assert merge(merged, above) == merged


@given(TREES)
def test_merging_does_not_touch_its_inputs(tree: dict[str, Any]) -> None:
    before = yaml.safe_dump(tree)
    merge(tree, {"a": {"b": {"c": 1}}})
    assert yaml.safe_dump(tree) == before


@pytest.mark.parametrize("regime", sorted(named("regimes")))
@pytest.mark.parametrize("method", sorted(named("methods")))
def test_every_method_composes_with_every_regime(regime: str, method: str) -> None:
    config = compose("digits-lt", regime, method)
    assert (config.regime, config.method) == (regime, method)
    assert Config.model_validate(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize("method", sorted(named("methods")))
def test_methods_set_only_their_own_sections(method: str) -> None:
    content = overlay("methods", method)
    about = {"description", "paper", "equation", "reading", "published", "acts_on", "status"}
    assert set(content) <= set(METHOD_KEYS) | about
    assert content["description"]
    assert content["acts_on"]


@pytest.mark.parametrize("recipe", sorted(named("recipes")))
def test_recipes_name_what_exists(recipe: str) -> None:
    content = overlay("recipes", recipe)
    assert content["regime"] in named("regimes")
    assert content["method"] in named("methods")


def test_both_readings_of_the_papers_lost_values_can_be_chosen() -> None:
    one, two = (compose("x", regime, "csba") for regime in ("csba-paper", "csba-paper-alt"))
    assert (one.optim.lr, one.schedule.every, one.schedule.gamma, one.train.batch_size) == (1e-4, 23, 0.1, 64)
    assert (two.optim.lr, two.schedule.every, two.schedule.gamma, two.train.batch_size) == (1e-3, 30, 0.5, 32)
    for config in (one, two):
        assert (config.optim.name, config.schedule.name, config.train.epochs) == ("adam", "step", 300)
        assert (config.train.patience, config.train.augment, config.model.name) == (30, (), "tripath")


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_assignments_does_not_drop_options(order: int) -> None:
    words = ["sampler.options.power=0.3", "sampler.name=power", "optim.lr=0.1"][::order]
    assert parse_set(words) == {"sampler": {"name": "power", "options": {"power": 0.3}}, "optim": {"lr": 0.1}}


def test_set_reads_yaml_values() -> None:
    above = parse_set(
        ["optim.lr=1e-3", "train.augment=[flip, crop]", "seed=7", "data.size=[80, 48]", "focus=a=b"]
    )
    config = compose("x", "quick", "csba", above)
    assert config.optim.lr == 0.001
    assert config.train.augment == ("flip", "crop")
    assert config.seed == 7
    assert config.data.size == (80, 48)
    assert config.focus == "a=b"


def test_a_renamed_component_drops_the_options_of_the_old_one() -> None:
    config = compose("x", "quick", "focal", {"loss": {"name": "cross_entropy"}})
    assert config.loss.options == {}
    kept = compose("x", "quick", "focal", {"loss": {"options": {"gamma": 1.0}}})
    assert kept.loss.options == {"weights": "inverse", "gamma": 1.0}


@pytest.mark.parametrize(
    ("above", "words"),
    [
        ({"optim": {"lrr": 1}}, r"optim.lrr is not a key of the configuration; did you mean 'lr'\?"),
        ({"optm": {"lr": 1}}, r"optm is not a key of the configuration; did you mean 'optim'\?"),
        ({"optim": {"lr": "fast"}}, "optim.lr must be a number, got 'fast'"),
        ({"optim": {"lr": -1}}, "optim.lr must be greater than 0, got -1"),
        ({"optim": {"name": "adma"}}, "optim.name must be 'adam', 'adamw' or 'sgd', got 'adma'"),
        ({"train": {"epochs": 0}}, "train.epochs must be greater than or equal to 1, got 0"),
        ({"data": {"val": 1.5}}, "data.val must be less than 1"),
        ({"seed": -1}, "seed must be greater than or equal to 0"),
        ({"data": {"size": "big"}}, "data.size"),
    ],
)
def test_a_wrong_key_or_value_is_named(above: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compose("x", "quick", "csba", above)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: compose("x", "quick", "csab"), r"method must be .*got 'csab'; did you mean 'csba'\?"),
        (lambda: compose("x", "quik", "csba"), r"regime must be .*got 'quik'; did you mean 'quick'\?"),
        (lambda: overlay("recipes", "csba-papers"), "did you mean 'csba-paper'"),
        (lambda: parse_set(["optim.lr"]), "key=value, got 'optim.lr'"),
        (lambda: parse_set(["a=[1"]), "YAML value"),
        (lambda: validate({}), "source must be given"),
        (
            lambda: compose("x", "quick", {"name": "mine", "optim": {"lr": 1}}),
            "'mine' may set only head, loss",
        ),
    ],
)
def test_unknown_names(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_a_method_may_set_regime_keys_when_allowed() -> None:
    method = {"name": "mine", "own_regime": True, "optim": {"lr": 0.5}}
    assert compose("x", "quick", method).optim.lr == 0.5


def test_own_yaml_files_work_wherever_a_name_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("description: mine\nhead: {name: csba, options: {branches: 2}}\n")
    config = compose("x", "quick", str(path))
    assert (config.method, config.head.options) == ("mine", {"branches": 2})
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match="must hold a YAML mapping, got list"):
        compose("x", "quick", str(path))
    path.write_text("a: [")
    with pytest.raises(InputError, match="must be readable YAML"):
        compose("x", "quick", str(path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CSBA", "csba"),
        ("BranchSum", "branch_sum"),
        ("ETF", "etf"),
        ("LDAMLoss", "ldam"),
        ("SoftF1Loss", "soft_f1"),
    ],
)
def test_snake(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_components_come_from_the_folders() -> None:
    assert {"linear", "branch_sum", "csba", "class_heads", "branch_softmax"} <= set(components("heads"))
    assert {"cross_entropy", "focal"} <= set(components("losses"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("heads", "cbsa", {}, 8, 3), r"head.name must be a known name, got 'cbsa'; did you mean 'csba'\?"),
        (
            ("heads", "csba", {"branch": 2}, 8, 3),
            r"head.options.branch is not an option of csba; did you mean 'branches'",
        ),
        (
            ("losses", "focal", {"gama": 2}, [1, 2]),
            "loss.options.gama is not an option of focal; did you mean 'gamma'",
        ),
    ],
)
def test_component_errors_name_the_nearest(arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(*arguments)


def test_a_recipe_as_regime_is_its_regime_and_all_it_sets_but_method_and_seed(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("regime: small-12\nmethod: balanced_softmax\nseed: 7\ntrain: {batch_size: 17}\n")
    found = compose("digits-lt", str(recipe), "ce")
    plain = compose("digits-lt", "small-12", "ce")
    assert (found.method, found.loss.name, found.seed, found.regime) == (
        "ce",
        plain.loss.name,
        plain.seed,
        "mine",
    )
    assert found.train.batch_size == 17
    changed = {"regime": "small-12", "train": {"batch_size": plain.train.batch_size}}
    assert validate(merge(found.model_dump(), changed)) == plain


def test_a_recipe_with_a_loss_of_its_own_is_no_regime(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("regime: small-12\nmethod: ce\nloss: {name: focal}\n")
    with pytest.raises(InputError, match="may not set loss"):
        compose("digits-lt", str(recipe), "ce")


def test_a_misspelt_file_is_found_beside(tmp_path: Path) -> None:
    (tmp_path / "photos.yaml").write_text("regime: folder\n")
    with pytest.raises(InputError, match=r"did you mean '.*photos\.yaml'"):
        overlay("recipes", str(tmp_path / "photos.yml"))
    with pytest.raises(InputError, match="choose from ") as refused:
        overlay("recipes", str(tmp_path / "q.yaml"))
    assert "photos" not in str(refused.value).partition("choose from")[2]
