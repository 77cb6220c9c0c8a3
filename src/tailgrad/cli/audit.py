"""tailgrad audit."""

import shlex
from typing import Annotated

import typer

from tailgrad.cli.options import (
    DropOption,
    JsonOption,
    QuietOption,
    SetOption,
    SourceArgument,
    TargetOption,
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
    """
    from tailgrad.data import audit as run
    from tailgrad.recipes.compose import compose
    from tailgrad.recipes.prepare import open_config
    from tailgrad.recipes.waiting import counting

    config = compose(source, "quick", "baseline", overrides_of(assignments, target=target, drop=drop))
    given = [shlex.quote(source), *([f"--target {shlex.quote(target)}"] if target else [])]
    given += [f"--drop {shlex.quote(one)}" for one in drop or ()]
    given += [f"--set {shlex.quote(one)}" for one in assignments or ()]
    with counting(listener(quiet), "looking at every image") as progress:
        found = run(open_config(config), near=near, command_source=" ".join(given), progress=progress)
    if as_json:
        show_json(found.to_dict())
    else:
        show_text(str(found))
