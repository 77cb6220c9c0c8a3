"""tailgrad report."""

from pathlib import Path
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption, NoImagesOption, QuietOption
from tailgrad.cli.output import listener, show_json, show_raw


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="Folder of a finished run or study.")],
    no_images: NoImagesOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report of a run or study again: one file, no network needed.

    Reports are written at the end of train and compare; this makes a new one from
    the files in the folder, without training anything. It holds small copies of a few
    test images where the data are at hand; leave them out to share it.

    Examples:
        tailgrad report runs/my-run
        tailgrad report studies/photos.folder
        tailgrad report runs/my-run --no-images
    """
    from tailgrad.recipes.waiting import counting
    from tailgrad.report import write_report

    with counting(listener(quiet), "report") as told:
        path = write_report(folder, images=not no_images, told=told)
    if as_json:
        show_json({"report": str(path)})
    else:
        show_raw(f"report: {path}")
