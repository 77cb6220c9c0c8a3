"""tailgrad audit-claims."""

from typing import Annotated

import typer

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_text


def audit_claims(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="Name of a packaged table (csba-pv, csba-cifar10-lt), or a YAML, JSON or CSV file with the "
            "columns class, precision, recall, f1, support and, for several models, model.",
        ),
    ],
    accuracy: Annotated[
        list[str] | None,
        typer.Option(
            "--accuracy",
            metavar="SHARE",
            help="Printed accuracy, where the file lacks it. Once a model, in order.",
        ),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option("--test-images", metavar="N", help="Number of test images, where the file lacks it."),
    ] = None,
    decimals: Annotated[
        int | None,
        typer.Option("--decimals", metavar="N", help="Digits after the point. Default: the most shown."),
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="The figures are in percent.")] = False,
    bound: Annotated[
        int,
        typer.Option(
            "--bound",
            metavar="N",
            help="Largest number of test images a class that is tried where it is not known.",
        ),
    ] = 100,
    as_json: JsonOption = False,
) -> None:
    """Say whether a printed table of precision, recall and F1 can be true at all.

    Looks for whole numbers of images that print so, compares the figures with one
    another, and says what a gain over the first column is worth. Each line is a
    verdict: consistent, impossible, or cannot be told.

    Examples:
        tailgrad audit-claims csba-pv
        tailgrad audit-claims table.csv --accuracy 0.648 --accuracy 0.654 --json
    """
    from tailgrad.evidence.claims_audit import audit_claims as run

    found = run(
        table,
        accuracy=accuracy or (),
        percent=percent,
        test_images=test_images,
        decimals=decimals,
        bound=bound,
    )
    if as_json:
        show_json(found.to_dict())
    else:
        show_text(str(found))
