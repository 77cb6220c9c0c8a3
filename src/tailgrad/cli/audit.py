"""tailgrad audit."""

import shlex
from typing import Annotated, Any

import typer

from tailgrad.cli.options import JsonOption, SetOption, SourceArgument, overrides_of
from tailgrad.cli.output import err, show_json, show_text


def audit(
    source: SourceArgument,
    near: Annotated[
        bool, typer.Option(help="Look for near duplicates too, not only for equal pixels.")
    ] = True,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a data set before training: counts, sizes, unreadable files, duplicates, leakage.

    Nothing is changed and nothing is written. The end says in plain words what to
    do about what was found, and which command to run next.

    Examples:
        tailgrad audit photos/
        tailgrad audit photos/ --no-near --json
    """
    from tailgrad.recipes.compose import compose
    from tailgrad.recipes.prepare import open_config

    config = compose(source, "quick", "baseline", overrides_of(assignments))
    given = [shlex.quote(source), *(f"--set {shlex.quote(one)}" for one in assignments or ())]
    found = _watched(open_config(config), near, " ".join(given))
    if as_json:
        show_json(found.to_dict())
    else:
        show_text(str(found))


def _watched(opened: Any, near: bool, command_source: str) -> Any:
    from rich.progress import Progress

    from tailgrad.data import audit as run

    console = err()
    console.quiet = not console.is_terminal  # old versions of Rich end a disabled bar with an empty line
    with Progress(console=console, transient=True, disable=console.quiet) as bars:
        task = bars.add_task("looking at every image")
        return run(
            opened,
            near=near,
            command_source=command_source,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
