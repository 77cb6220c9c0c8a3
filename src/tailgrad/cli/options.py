"""Options that several commands share, worded once."""

from pathlib import Path
from typing import Annotated, Any

import typer

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Folder of class folders, CSV of path,label, parquet file or folder, cifar10-lt, cifar100-lt or "
        "digits-lt (built in).",
    ),
]
RegimeOption = Annotated[
    str | None, typer.Option("--regime", help="Regime: a name or YAML file. Default: the source's own.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one key, e.g. --set optim.lr=0.001. Repeatable."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder to write. Default: named by the content.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with what the folder holds.")]
FocusOption = Annotated[
    str | None,
    typer.Option("--focus", metavar="CLASS", help="Select, tune and judge by this class's F1."),
]
MinutesOption = Annotated[
    float | None, typer.Option("--max-minutes", help="Stop, resumable, when this time is used up.")
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on standard output, everything else on standard error."),
]


def overrides_of(
    assignments: list[str] | None, focus: str | None = None, minutes: float | None = None
) -> dict[str, Any]:
    """The nested overrides of ``--set``, ``--focus`` and ``--max-minutes``.

    Example:
        >>> overrides_of(["seed=1"], minutes=5)
        {'seed': 1, 'train': {'max_minutes': 5}}
    """
    from tailgrad.recipes.compose import merge, parse_set

    above = parse_set(assignments or [])
    if focus is not None:
        above = merge(above, {"focus": focus})
    return merge(above, {"train": {"max_minutes": minutes}}) if minutes is not None else above
