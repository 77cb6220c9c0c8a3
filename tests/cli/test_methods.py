"""tailgrad methods: what is listed, what is told of one name, and what is refused."""

import itertools
import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from tailgrad.recipes import catalogue

ENTRIES = catalogue()
KINDS = list(dict.fromkeys(entry.kind for entry in ENTRIES))

TITLES = {
    "description": "what it is",
    "acts_on": "acts on",
    "status": "how sure",
    "ours": "measured here",
}


def _json(cli: Any, *words: str) -> list[dict[str, Any]]:
    done = cli("methods", *words, "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert list(found) == ["entries"]
    entries: list[dict[str, Any]] = found["entries"]
    return entries


def _wanted(**fields: str) -> list[dict[str, Any]]:
    every = [asdict(entry) for entry in ENTRIES]
    return [entry for entry in every if all(entry[key] == value for key, value in fields.items())]


@pytest.mark.parametrize("name", ["gala", "csba", "sam", "class_balanced", "resnet32"])
def test_json_of_a_name_is_the_catalogue_of_it(cli: Any, name: str) -> None:
    found = _json(cli, name)
    assert found == _wanted(name=name)
    assert {entry["name"] for entry in found} == {name}


def test_gala_is_a_method_and_the_loss_in_it(cli: Any) -> None:
    found = {entry["kind"]: entry for entry in _json(cli, "gala")}
    assert set(found) == {"method", "loss"}
    assert found["method"]["acts_on"]
    assert found["method"]["equation"]
    assert found["loss"]["paper"]
    assert _json(cli, "gala", "--kind", "loss") == [found["loss"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_lists_its_own_and_nothing_else(cli: Any, kind: str) -> None:
    assert _json(cli, "--kind", kind) == _wanted(kind=kind)
    shown = cli("methods", "--kind", kind).out.splitlines()
    header, _, *rows = shown
    assert re.fullmatch(r"kind +name +acts on +what it is", header)
    assert len(rows) == len(_wanted(kind=kind))
    assert rows[0].startswith(f"{kind} ")
    assert all(row.startswith(" ") for row in rows[1:])
    for row, entry in zip(rows, _wanted(kind=kind), strict=True):
        assert re.search(rf"\s{re.escape(entry['name'])}\s", f"{row} ")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_a_list_that_fits(cli: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = cli("methods").out
    lines = shown.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [f"{kind}:" for kind in KINDS]
    assert max(map(len, lines)) <= width
    whole = " ".join(shown.split())
    for entry in ENTRIES:
        words = " ".join(entry.description.replace("``", "").split())
        says_more = entry.acts_on not in ("", entry.kind)
        told = f"{entry.name} {words} [{entry.acts_on}]" if says_more else f"{entry.name} {words}"
        assert told in whole, told
    assert not any(f"[{kind}]" in " ".join(_lines_under(lines, kind)) for kind in ("loss", "sampler"))
    assert len(lines) < 5.5 * len(ENTRIES) * 60 / width


def _lines_under(lines: list[str], kind: str) -> list[str]:
    rest = lines[lines.index(f"{kind}:") + 1 :]
    return list(itertools.takewhile(lambda line: line.startswith(" "), rest))


def test_all_of_a_name_is_shown_with_plain_titles(cli: Any) -> None:
    lines = cli("methods", "csba").out.splitlines()
    wanted = {entry["kind"]: entry for entry in _wanted(name="csba")}
    starts = [line for line in lines if not line.startswith(" ")]
    assert starts == [f"{kind}: csba" for kind in wanted]
    for start, entry in zip(starts, wanted.values(), strict=True):
        own = lines[lines.index(start) + 1 :]
        told = dict(line.strip().split(": ", 1) for line in own[: _length(own)])
        expected = {TITLES.get(key, key): value.replace("``", "") for key, value in entry.items() if value}
        assert told == {title: text for title, text in expected.items() if title not in ("kind", "name")}


def _length(lines: list[str]) -> int:
    """How many lines come before the entry's YAML or the next entry."""
    ends = (i for i, line in enumerate(lines) if not line.startswith(" ") or line == "  is:")
    return next(ends, len(lines))


def test_our_figures_are_told_of_methods_that_have_them(cli: Any) -> None:
    assert "measured here: 0." in cli("methods", "csba").out
    without = next(e for e in ENTRIES if e.kind == "method" and not e.ours)
    assert "measured here" not in cli("methods", without.name).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gla",), r"NAME must be a known name, got 'gla'; did you mean 'gala'\?"),
        (("--kind", "los"), r"--kind must be a known name, got 'los'; did you mean 'loss'\?"),
        (("--kind", "methods"), "did you mean 'method'"),
        (("resnet32", "--kind", "loss"), "NAME must be a known name, got 'resnet32'"),
        (("gala", "--kind", "sampler"), "NAME must be a known name, got 'gala'"),
        (("GALA",), "NAME must be a known name, got 'GALA'"),
        (("",), "NAME must be a known name, got ''"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_not_there_is_one_error(cli: Any, words: tuple[str, ...], said: str, as_json: bool) -> None:
    assert re.search(said, cli("methods", *words, *(["--json"] if as_json else [])).error)


def test_a_name_among_other_kinds_is_not_suggested(cli: Any) -> None:
    """With --kind only names of that kind can be meant."""
    error = cli("methods", "focl", "--kind", "loss").error
    assert "did you mean 'focal'" in error
    known = {entry["name"] for entry in _wanted(kind="head")}
    suggested = re.findall(r"'([^']*)'", cli("methods", "focl", "--kind", "head").error)[1:]
    assert set(suggested) <= known
