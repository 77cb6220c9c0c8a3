"""tailgrad table."""

from pathlib import Path
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_raw


def table(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a finished study.")],
    style: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="One of md, csv and latex.")
    ] = "md",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="One of macro_f1, balanced_accuracy, accuracy, worst_f1, tuned_macro_f1 and focus_f1. "
            "Default: the study's headline.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a study as a table to paste: Markdown, CSV or LaTeX (with booktabs).

    Means over seeds and differences to the first method, each with its 95 % interval.

    Examples:
        tailgrad table studies/photos.folder
        tailgrad table studies/photos.folder --format latex --metric worst_f1
    """
    from tailgrad.recipes import table as make
    from tailgrad.recipes.run_folder import read_json

    text = make(study, style, metric)
    if as_json:
        show_json({"table": text, **read_json(study / "comparison.json")})
    else:
        show_raw(text)
