"""tailgrad table."""

from pathlib import Path
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_text


def table(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a finished study.")],
    style: Annotated[str, typer.Option("--format", help="md, csv or latex.")] = "md",
    metric: Annotated[str | None, typer.Option("--metric", help="Default: the study's headline.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a study as a table to paste.

    Example: tailgrad table studies/photos.folder --format latex
    """
    from tailgrad.recipes import table as make
    from tailgrad.recipes.run_folder import read_json

    text = make(study, style, metric)
    if as_json:
        show_json({"table": text, **read_json(study / "comparison.json")})
    else:
        show_text(text)
