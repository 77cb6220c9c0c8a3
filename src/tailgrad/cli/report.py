"""tailgrad report."""

from pathlib import Path
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_raw


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="Folder of a finished run or study.")],
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report of a run or study again: one file, no network needed.

    Reports are written at the end of train and compare; this makes a new one from
    the files in the folder, without training anything.

    Examples:
        tailgrad report runs/my-run
        tailgrad report studies/photos.folder
    """
    from tailgrad.report import write_report

    path = write_report(folder)
    if as_json:
        show_json({"report": str(path)})
    else:
        show_raw(f"report: {path}")
