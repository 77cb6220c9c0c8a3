"""tailgrad reliability."""

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption, QuietOption
from tailgrad.cli.output import loading, show_json, show_table, show_text


def reliability(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha", metavar="SHARE", help="Share of images whose conformal set may miss their class."
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            "--score", metavar="NAME", help="Sets by hinge (small) or cumulative (adapting to the image)."
        ),
    ] = None,
    answered: Annotated[
        float | None,
        typer.Option(
            "--answered", metavar="SHARE", help="Share of validation images to answer, the surest ones."
        ),
    ] = None,
    quiet: QuietOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row a class, as CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how far a run can be relied on, class by class.

    Whether its probabilities come true; how often images of rare classes are taken for
    frequent ones (False Head Rate); who is left without an answer when the least sure
    images are withheld; and sets of classes that hold the right one in a promised share
    of images, for all classes together and for each. Thresholds and sets are made on
    validation images, figures on test images. Sets need the extra named conformal.

    Examples:
        tailgrad reliability runs/my-run
        tailgrad reliability runs/my-run --alpha 0.05
        tailgrad reliability runs/my-run --csv
    """
    with loading(quiet):
        from tailgrad.data.table_encoding import is_of_rows
        from tailgrad.evaluate.reliability_text import csv_rows, tables
        from tailgrad.recipes import reliability as run_reliability
        from tailgrad.report.of_rows import in_rows

        found = run_reliability(run, alpha=alpha, score=score, answered=answered)
    if as_json:
        show_json(found.to_dict())
    elif as_csv:
        rows = csv_rows(found)
        writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        shown = tables(found)
        if is_of_rows(run):
            shown = in_rows(shown, found.classes.names)
        for table in shown:
            show_table(table.title, table.header, table.rows)
            show_text(f"{table.note}\n")
        if found.no_sets:
            show_text(f"No conformal sets: {found.no_sets}")
