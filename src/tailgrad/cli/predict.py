"""tailgrad predict."""

from dataclasses import asdict
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption, QuietOption
from tailgrad.cli.output import err, listener, loading, printable, short, show_json, show_table


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help="Image files, or folders of them.")],
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify images with a trained run.

    An image that cannot be read is named, and the others are classified. Where
    the run was trained with --focus, the tuned threshold of that class decides.

    Examples:
        tailgrad predict runs/my-run new/*.jpg
        tailgrad predict runs/my-run new/ --json
    """
    with loading(quiet):
        from tailgrad.recipes import predict as classify

    found = classify(run, images, console=listener(quiet))
    if as_json:
        show_json({"predictions": [asdict(row) for row in found]})
        return
    rows = [[p.file, short(p.name), f"{p.probability:.3f}"] for p in found if not p.error]
    if rows:
        show_table("", ["file", "class", "probability"], rows)
    for row in found:
        if row.error:
            said = printable(f"unreadable: {row.file} ({row.error})")
            err().print(said, markup=False, highlight=False)
