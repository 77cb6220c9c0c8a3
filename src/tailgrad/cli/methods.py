"""tailgrad methods."""

from dataclasses import asdict

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_table


def methods(as_json: JsonOption = False) -> None:
    """List everything that can be named: methods, regimes, recipes, and what those are made of.

    A regime fixes what every method of a comparison shares, a method sets head,
    loss and what combines the gradients of classes, a recipe is one of each. A
    YAML file of your own works wherever one of these is named.

    Examples:
        tailgrad methods
        tailgrad methods --json
    """
    from tailgrad.recipes import catalogue

    entries = catalogue()
    if as_json:
        show_json({"entries": [asdict(entry) for entry in entries]})
        return
    rows, before = [], ""
    for entry in entries:
        rows.append(
            [entry.kind if entry.kind != before else "", entry.name, entry.description.replace("``", "")]
        )
        before = entry.kind
    show_table("", ["kind", "name", "what it is"], rows)
