"""tailgrad methods."""

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tailgrad.cli import names as known
from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import columns, printable, show_json, show_raw, show_table, show_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tailgrad.recipes import Entry

_BESIDE = 72
"""Columns from which a name and its words share a line."""
_MOST = 32
"""Columns that names may take of it."""


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Tell all about what has this name.",
            show_default=False,
            autocompletion=known.overlays,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="List one kind only: method, loss, sampler, ..."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List everything that can be named: methods, regimes, recipes, and what those are made of.

    A regime fixes what every method of a comparison shares; a method sets the rest:
    loss, head, sampler, mixing, optimiser wrapper, stages, posthoc. A recipe is one
    of each. A YAML file of your own works wherever one of these is named. With a
    name: what it acts on, paper, equation, reading, published and measured figures.

    Examples:
        tailgrad methods
        tailgrad methods gala
        tailgrad methods --kind loss
        tailgrad methods --json
    """
    from tailgrad.checks import one_of
    from tailgrad.recipes import catalogue

    entries = catalogue()
    if kind is not None:
        kind = one_of("--kind", kind, dict.fromkeys(entry.kind for entry in entries))
        entries = [entry for entry in entries if entry.kind == kind]
    if name is not None:
        name = one_of("NAME", name, dict.fromkeys(entry.name for entry in entries))
        entries = [entry for entry in entries if entry.name == name]
    if as_json:
        show_json({"entries": [asdict(entry) for entry in entries]})
    elif name is not None:
        _show_all(entries)
    else:
        _show_list(entries)


def _show_list(entries: "Sequence[Entry]") -> None:
    """A table where a line takes any width; on a terminal a list, whose words need the room of a line."""
    width = columns()
    if width is None:
        _show_table(entries)
        return
    place = min(max(len(entry.name) for entry in entries) + 4, _MOST)
    for kind in dict.fromkeys(entry.kind for entry in entries):
        show_raw(f"{kind}:")
        for entry in entries:
            if entry.kind == kind:
                show_raw(_item(entry, width, place if width >= _BESIDE else 4))


def _item(entry: "Entry", width: int, place: int) -> str:
    """A name with its words beside it, or under it where there is no room."""
    acts_on = f" [{entry.acts_on}]" if entry.acts_on not in ("", entry.kind) else ""
    text = printable(entry.description.replace("``", "") + acts_on)
    beside = f"  {entry.name:{place - 4}}  " if len(entry.name) <= place - 4 else ""
    lines = textwrap.wrap(text, max(width - place, 20), break_long_words=False, break_on_hyphens=False)
    lines = lines or [""]
    first = f"{beside}{lines[0]}" if beside else f"  {entry.name}\n{' ' * place}{lines[0]}"
    return "\n".join([first, *(" " * place + line for line in lines[1:])])


def _show_table(entries: "Sequence[Entry]") -> None:
    rows, before = [], ""
    for entry in entries:
        rows.append(
            [
                entry.kind if entry.kind != before else "",
                entry.name,
                entry.acts_on,
                entry.description.replace("``", ""),
            ]
        )
        before = entry.kind
    show_table("", ["kind", "name", "acts on", "what it is"], rows)


def _show_all(entries: "Sequence[Entry]") -> None:
    titles = {
        "acts_on": "acts on",
        "status": "how sure",
        "ours": "measured here",
        "description": "what it is",
    }
    for entry in entries:
        for key, value in asdict(entry).items():
            if value and key != "kind":
                title = f"{entry.kind}:" if key == "name" else f"  {titles.get(key, key)}:"
                show_text(f"{title} {value.replace('``', '')}")
        for line in _content(entry):
            show_raw(line)


def _content(entry: "Entry") -> list[str]:
    """The YAML that the name of a method, regime or recipe stands for."""
    import yaml

    from tailgrad.recipes.compose import ABOUT, overlay

    if entry.kind not in ("method", "regime", "recipe"):
        return []
    content = {key: value for key, value in overlay(f"{entry.kind}s", entry.name).items() if key not in ABOUT}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    return ["  is:", *(f"    {line}" for line in text.splitlines())]
