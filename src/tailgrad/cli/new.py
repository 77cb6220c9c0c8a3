"""tailgrad new."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tailgrad.cli.options import (
    DropLabelsOption,
    DropOption,
    JsonOption,
    LabelColumnsOption,
    LabelsOption,
    QuietOption,
    SeparatorOption,
    SetOption,
    SourceArgument,
    TargetOption,
    labels_of,
    overrides_of,
)
from tailgrad.cli.output import listener, show_json, show_raw, show_text


def new(
    source: SourceArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Recipe to write. Default: the source's name with .yaml."),
    ] = None,
    near: Annotated[
        bool | None,
        typer.Option(
            "--near/--no-near",
            help="Look for near duplicates. By default up to 20,000 images.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    target: TargetOption = None,
    drop: DropOption = None,
    labels_column: LabelsOption = None,
    separator: SeparatorOption = None,
    label_columns: LabelColumnsOption = None,
    drop_labels: DropLabelsOption = None,
    assignments: SetOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look at a data set and write a recipe for it, with a reason beside every value.

    The recipe is a file to read and change; train takes it as it stands. It fits
    the number of images and classes, their sizes, the imbalance and the copies
    that the audit found.

    Examples:
        tailgrad new photos/
        tailgrad new photos/ --out first.yaml --set focus=Broken
        tailgrad new labels.csv --set data.root=images/ --force
        tailgrad new patients.csv --target sick
        tailgrad new list.csv --labels-column labels
    """
    from tailgrad.recipes import new_recipe
    from tailgrad.recipes.compose import merge
    from tailgrad.recipes.waiting import counting

    several = labels_of(labels_column, separator, label_columns, drop_labels)
    above = merge(overrides_of(assignments, target=target, drop=drop), several)
    with counting(listener(quiet), "looking at every image") as progress:
        made = new_recipe(source, out, overrides=above, near=near, force=force, progress=progress)
    if as_json:
        settings = [asdict(setting) for setting in made.settings]
        audit = made.audit.to_dict()
        show_json({"recipe": str(made.path), "command": made.command, "settings": settings, "audit": audit})
        return
    for setting in made.settings:
        show_text(f"{setting.key}: {setting.value}")
    show_raw(f"\nrecipe: {made.path}\nNow run: {made.command}")
