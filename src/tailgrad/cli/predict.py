"""tailgrad predict."""

from dataclasses import asdict
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_table


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Image files or folders of them.")],
    as_json: JsonOption = False,
) -> None:
    """Classify images with a trained run.

    Example: tailgrad predict runs/my-run new/*.jpg
    """
    from tailgrad.recipes import predict as classify

    found = classify(run, images)
    if as_json:
        show_json({"predictions": [asdict(row) for row in found]})
    else:
        rows = [[p.file, p.error or p.name, "" if p.error else f"{p.probability:.3f}"] for p in found]
        show_table("", ["file", "class", "probability"], rows)
