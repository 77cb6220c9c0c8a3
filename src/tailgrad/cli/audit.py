"""tailgrad audit."""

import shlex
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
from tailgrad.cli.output import listener, show_json, show_text


def audit(
    source: SourceArgument,
    near: Annotated[
        bool, typer.Option(help="Look for near duplicates too, not only for equal pixels.")
    ] = True,
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
    """Look at a data set before training: counts, sizes, unreadable files, duplicates, leakage.

    Nothing is changed and nothing is written. The end says in plain words what to
    do about what was found, and which command to run next.

    Examples:
        tailgrad audit photos/
        tailgrad audit photos/ --no-near --json
        tailgrad audit patients.csv --target sick
        tailgrad audit list.csv --labels-column labels
    """
    from tailgrad.data import audit as run
    from tailgrad.recipes.compose import compose, merge
    from tailgrad.recipes.prepare import open_config
    from tailgrad.recipes.waiting import counting

    several = labels_of(labels_column, separator, label_columns, drop_labels)
    above = merge(overrides_of(assignments, target=target, drop=drop), several)
    config = compose(source, "quick", "baseline", above)
    options = [
        ("--target", target),
        ("--labels-column", labels_column),
        ("--separator", separator),
        ("--label-columns", label_columns),
        ("--drop-labels", drop_labels),
        *(("--drop", one) for one in drop or ()),
        *(("--set", one) for one in assignments or ()),
    ]
    given = [shlex.quote(source), *(f"{name} {shlex.quote(value)}" for name, value in options if value)]
    with counting(listener(quiet), "looking at every image") as progress:
        found = run(open_config(config), near=near, command_source=" ".join(given), progress=progress)
    if as_json:
        show_json(found.to_dict())
    else:
        show_text(str(found))
