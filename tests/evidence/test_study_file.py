"""Study files: what they expand to, what sizes make of them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.evidence import StudyFile, read_study, studies
from tailgrad.evidence.study_file import Group
from tailgrad.recipes.compare import _pairs

WHOLE = """\
question: Is it better?
data: {a: digits-lt, b: null}
needs: {b: photographs}
seeds: 4
set: {data: {size: 16, val: 0.2}, optim: {lr: 0.1}}
groups:
  first:
    data: a
    methods: [ce, csba]
    set: {data: {size: 32}}
  second:
    like: first
    data: b
    split_seeds: [3, 5]
    set: {optim: {lr: 0.5}}
sizes:
  small:
    seeds: 1
    groups: {first: null, second: {split_seeds: 2}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return to_file


def test_the_product_of_data_and_regimes_is_the_groups() -> None:
    plan = StudyFile(
        name="x", data={"a": "one", "b": "two"}, regimes=("quick", "my/slow.yaml"), methods=("ce",)
    )
    found = {name: (group.data, group.regime) for name, group in plan.expanded().items()}
    assert found == {
        "a.quick": ("a", "quick"),
        "a.slow": ("a", "my/slow.yaml"),
        "b.quick": ("b", "quick"),
        "b.slow": ("b", "my/slow.yaml"),
    }


def test_one_regime_or_none_adds_nothing_to_the_name() -> None:
    for regimes, regime in (((), None), (("quick",), "quick")):
        groups = StudyFile(name="x", data={"a": "one"}, regimes=regimes, methods=("ce",)).expanded()
        assert {name: group.regime for name, group in groups.items()} == {"a": regime}


def test_keys_are_laid_over_those_of_the_study_and_of_the_group_that_one_is_like(write: Any) -> None:
    groups = read_study(write(WHOLE)).expanded()
    first, second = groups["first"], groups["second"]
    assert (first.seeds, first.split_seeds, first.data) == (4, None, "a")
    assert first.set == {"data": {"size": 32, "val": 0.2}, "optim": {"lr": 0.1}}
    assert (second.split_seeds, second.data, second.methods) == ((3, 5), "b", ("ce", "csba"))
    assert second.set == {"data": {"size": 32, "val": 0.2}, "optim": {"lr": 0.5}}


def test_a_size_leaves_out_what_another_group_is_like(write: Any) -> None:
    small = read_study(write(WHOLE)).at("small").expanded()
    assert list(small) == ["second"]
    group = small["second"]
    assert (group.seeds, group.split_seeds, group.methods) == (1, 2, ("ce", "csba"))
    assert group.set["data"]["size"] == 32


def test_a_size_changes_those_that_are_like_a_changed_group(write: Any) -> None:
    text = WHOLE + "  wide:\n    groups: {first: {methods: [focal], set: {data: {size: 64}}}}\n"
    groups = read_study(write(text)).at("wide").expanded()
    assert {name: (group.methods, group.set["data"]["size"]) for name, group in groups.items()} == {
        "first": (("focal",), 64),
        "second": (("focal",), 64),
    }


def test_full_is_the_study_as_it_is_written(write: Any) -> None:
    plan = read_study(write(WHOLE))
    assert plan.at("full") is plan


def test_the_name_is_the_files_and_source_stands_for_data(write: Any) -> None:
    plan = read_study(write("source: digits-lt\nmethods: [ce]\n", "short.yml"))
    assert (plan.name, plan.data, list(plan.expanded())) == ("short", {"data": "digits-lt"}, ["data"])


def test_a_method_written_out_takes_the_keys_of_the_one_it_is_like() -> None:
    methods = ("ce", {"name": "hot", "like": "csba", "loss": {"name": "focal"}})
    found = Group(data="x", methods=methods, own_regime=True).overlays()
    assert list(found) == ["ce", "hot"]
    assert found["hot"]["head"] == {"name": "csba"}
    assert found["hot"]["loss"]["name"] == "focal"
    assert all(method["own_regime"] is True for method in found.values())


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (("ce", "ce"), "methods must be distinct, got 'ce' twice"),
        (({"like": "csba"},), "must have a name"),
        (({"name": 3},), "must have a name"),
        (({"name": "x", "like": "cbsa"},), "did you mean 'csba'"),
        ((), "methods must hold at least one name"),
    ],
)
def test_wrong_methods(methods: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Group(data="x", methods=methods).overlays()


BASE = "data: {a: digits-lt}\nmethods: [ce]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "must hold a YAML mapping, got list"),
        ("just words\n", "must hold a YAML mapping, got str"),
        ("a: [\n", "must be readable YAML"),
        (BASE + "sead: 3\n", "sead is not a key of a study; did you mean 'seeds'"),
        (BASE + "seeds: 0\n", "seeds must be greater than or equal to 1, got 0"),
        (BASE + "seeds: many\n", "seeds must be a whole number, got 'many'"),
        (BASE + "seeds: yes\n", "seeds must be a whole number, got True"),
        (BASE + "split_seeds: on\n", "split_seeds must be a whole number, got True"),
        (BASE + "name: ../up\n", "name must"),
        (BASE + "name: ..\n", "name must"),
        (BASE + "analysis: os.path\n", "analysis must"),
        (BASE + "source: x\n", "must have source or data, got both"),
        (BASE + "sizes: {full: {}}\n", "must not have a size called 'full'"),
        (BASE + "regimes: [quick]\ngroups: {g: {}}\n", "must have groups or regimes, not both"),
        ("data: {a: x}\n", "must have groups, methods or an analysis"),
        ("data: {a: x}\ngroups: {analysis: {methods: [ce]}}\n", "must not have a group called 'analysis'"),
        ("data: {analysis: x}\nmethods: [ce]\n", "must not have a group called 'analysis'"),
        ("methods: [ce]\n", "data must be given"),
    ],
)
def test_a_wrong_file(write: Any, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read_study(write(text))
    assert "\n" not in str(refused.value).rstrip("\n").split("got")[0]


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("{methods: [ce], seed: 2}", "seed is not a key of a group; did you mean 'seeds'"),
        ("{methods: [ce], split_seeds: [1, 1]}", "split_seeds must be different"),
        ("{methods: [ce], split_seeds: []}", "split_seeds"),
        (
            "{methods: [ce], split_seeds: [yes, no]}",
            r"split_seeds must be a whole number, got \[True, False\]",
        ),
        ("{methods: [ce], set: fast}", "set must be a mapping"),
        ("{seeds: 2}", "methods must be given"),
        ("{like: h}", "like of a group in study 'mine' must name another group, got 'h'"),
        ("{like: g}", "like of a group in study 'mine' must name another group, got 'g'"),
    ],
)
def test_a_wrong_group(write: Any, group: str, said: str) -> None:
    plan = read_study(write(f"data: {{a: digits-lt}}\ngroups: {{g: {group}}}\n"))
    with pytest.raises(InputError, match=said):
        plan.expanded()


@pytest.mark.parametrize(
    ("sizes", "asked", "said"),
    [
        ("{small: {}}", "smal", "size must be one of full, small, got 'smal'; did you mean 'small'"),
        ("{s: {groups: {h: null}}}", "s", "must change groups of it, got 'h'"),
        ("{s: {groups: [g]}}", "s", "groups of size 's' must be mappings or null by name"),
        ("{s: {groups: {g: 3}}}", "s", "groups of size 's' must be mappings or null by name"),
        ("{s: {sead: 2}}", "s", "sead is not a key of a study"),
    ],
)
def test_a_wrong_size(write: Any, sizes: str, asked: str, said: str) -> None:
    plan = read_study(write(f"data: {{a: digits-lt}}\ngroups: {{g: {{methods: [ce]}}}}\nsizes: {sizes}\n"))
    with pytest.raises(InputError, match=said):
        plan.at(asked)


def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(InputError, match="study must be a known name or a YAML file, got 'gone.yaml'"):
        read_study("gone.yaml")


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_of_the_package_can_be_read_at_every_size(name: str) -> None:
    plan = read_study(name)
    assert plan.name == name
    assert plan.question.endswith("?")
    for size in ("full", *plan.sizes):
        groups = plan.at(size).expanded()
        assert all(group.overlays() for group in groups.values())
    for slot, source in plan.data.items():
        assert source is not None or plan.needs.get(slot), f"needs of {name} must say what {slot} is"


@pytest.mark.parametrize(
    ("keys", "runs"),
    [
        ("{methods: [ce, csba]}", 6),
        ("{methods: [ce, csba], seeds: 5}", 10),
        ("{methods: [ce], seeds: 2, split_seeds: 4}", 8),
        ("{methods: [ce, csba], seeds: 2, split_seeds: [3, 5, 9]}", 12),
    ],
)
def test_a_group_knows_how_many_runs_it_is(write: Any, keys: str, runs: int) -> None:
    (group,) = read_study(write(f"data: {{a: digits-lt}}\ngroups: {{g: {keys}}}\n")).expanded().values()
    assert group.runs == runs
    pairs = _pairs(group.seeds, group.split_seeds)
    assert group.runs == len(pairs) * len(group.overlays())
