"""tailgrad methods."""

from dataclasses import asdict

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_table


def methods(as_json: JsonOption = False) -> None:
    """List everything that can be named: methods, regimes, recipes, backbones, heads, losses, augmentations.

    Example: tailgrad methods
    """
    from tailgrad.recipes import catalogue

    entries = catalogue()
    if as_json:
        show_json({"entries": [asdict(entry) for entry in entries]})
    else:
        rows = [[entry.kind, entry.name, entry.description] for entry in entries]
        show_table("", ["kind", "name", "what it is"], rows)
