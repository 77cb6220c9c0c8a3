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
            metavar="NAMES",
            help="One of macro_f1, balanced_accuracy, accuracy, worst_f1, tuned_macro_f1, focus_f1, "
            "recall_many, recall_medium and recall_few; or several, separated by commas, for a column each. "
            "Default: the study's headline.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="NAME", help="One group of a study that has several. Default: all."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a study as a table to paste: Markdown, CSV or LaTeX (with booktabs).

    Means over seeds and differences to the first method, each with its 95 % interval.
    recall_many, recall_medium and recall_few are mean recalls over the classes with
    more than 100, 20 to 100, and fewer than 20 training images.

    Examples:
        tailgrad table studies/photos.folder
        tailgrad table studies/photos.folder --format latex --metric worst_f1
        tailgrad table studies/photos.folder --metric accuracy,recall_few
        tailgrad table studies/mine.full --group grouped
    """
    from tailgrad.recipes import table as make
    from tailgrad.recipes.table import comparisons

    names = [name.strip() for name in (metric or "").split(",") if name.strip()]
    text = make(study, style, names or None, group)
    if not as_json:
        show_raw(text)
        return
    found = {name: content for name, (_, content) in comparisons(study, group).items()}
    show_json({"table": text, **found.get("", {"groups": found})})
