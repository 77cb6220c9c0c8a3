"""tailgrad audit."""

from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption, SetOption, SourceArgument, overrides_of
from tailgrad.cli.output import show_json, show_text


def audit(
    source: SourceArgument,
    near: Annotated[
        bool, typer.Option(help="Look for near duplicates too, not only for equal pixels.")
    ] = True,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a data set before training: counts, sizes, unreadable files, duplicates, leakage.

    Example: tailgrad audit photos/
    """
    from tailgrad.data import audit as run
    from tailgrad.recipes.compose import compose
    from tailgrad.recipes.prepare import open_config

    config = compose(source, "quick", "baseline", overrides_of(assignments))
    found = run(open_config(config), near=near, command_source=source)
    if as_json:
        show_json(found.to_dict())
    else:
        show_text(str(found))
