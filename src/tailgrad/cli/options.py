"""Options that several commands share, worded once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tailgrad.checks import one_of
from tailgrad.cli import names as known

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Folder with one folder of images a class; CSV with columns path and label; list file with "
        "lines 'path class'; parquet, WebDataset or iNaturalist files; a table (CSV or parquet, with "
        "--target); cifar10-lt, cifar100-lt, or digits-lt, breast-cancer-lt, wine-lt (built in, offline).",
        autocompletion=known.sources,
    ),
]
RegimeOption = Annotated[
    str | None,
    typer.Option(
        "--regime",
        metavar="NAME",
        help="What stays fixed: backbone, schedule, batch, augmentation. A name or YAML file; the source "
        "has a default.",
        autocompletion=known.regimes,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one configuration key, as in optim.lr=0.001. Repeatable.",
        autocompletion=known.keys,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="Of a table: the column of the classes. Every other column is a feature.",
    ),
]
DropOption = Annotated[
    list[str] | None,
    typer.Option("--drop", metavar="COLUMN", help="Of a table: leave a column out. Repeatable."),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels-column",
        metavar="COLUMN",
        help="Of a CSV list: the column that holds several labels an image, as in 'cat; dog'.",
    ),
]
SeparatorOption = Annotated[
    str | None,
    typer.Option(
        "--separator", metavar="CHARACTER", help="What stands between labels; a semicolon by default."
    ),
]
LabelColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--label-columns",
        metavar="A,B,C",
        help="Of a CSV list: columns of 0 and 1, one a label, where images have several.",
    ),
]
DropLabelsOption = Annotated[
    str | None,
    typer.Option("--drop-labels", metavar="A,B", help="Where images have several labels: leave some out."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Folder to write. The default name says what is in it."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with what the folder holds; the result is the same.")
]
FocusOption = Annotated[
    str | None,
    typer.Option(
        "--focus",
        metavar="CLASS",
        help="The class that matters: its F1 selects the epoch, tunes a threshold and is the headline.",
    ),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-minutes",
        metavar="MINUTES",
        help="End training when this time is used up; evaluation comes after. --resume goes on.",
    ),
]
TuneOption = Annotated[
    bool,
    typer.Option(
        "--tune-speed",
        help="Time all ways to run a step, torch.compile and fused updates among them; kept for next time.",
    ),
]
LoggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME",
        help="Follow the run in tensorboard, mlflow or wandb too, each an extra of the package. Repeatable.",
        autocompletion=known.loggers,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say nothing but the result and errors: no progress, no remarks."),
]
NoImagesOption = Annotated[
    bool, typer.Option("--no-images", help="Leave example images out of the report, to share it.")
]
JobsOption = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Runs side by side, or auto: as many as fit. The default is 1, on a cluster auto.",
    ),
]
EngineOption = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="Where runs go: local, or ray for a Ray cluster.")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="Ray cluster to join, as in auto or head:6379."),
]
TargetPriorOption = Annotated[
    str | None,
    typer.Option(
        "--target-prior",
        metavar="SHARES",
        help="Class frequencies at the place of use: class=share,...; uniform; train; or a YAML, JSON or CSV "
        "file.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on standard output, everything else on standard error."),
]


def overrides_of(
    assignments: list[str] | None,
    focus: str | None = None,
    minutes: float | None = None,
    tune_speed: bool = False,
    loggers: list[str] | None = None,
    no_images: bool = False,
    target: str | None = None,
    drop: list[str] | None = None,
) -> dict[str, Any]:
    """The nested overrides of ``--set`` and of the options that stand for one or two of its keys.

    Raises:
        InputError: an assignment cannot be read, or a logger is unknown.

    Example:
        >>> overrides_of(["seed=1"], minutes=5)
        {'seed': 1, 'train': {'max_minutes': 5}}
    """
    from tailgrad.recipes.compose import merge, parse_set

    above = parse_set(assignments or [])
    if tune_speed:  # what is set by name is not tried
        above = merge({"train": {"compile": "auto", "fused": "auto"}}, above)
    if loggers:
        from tailgrad.recipes.config import LOGGERS

        wanted = [one_of("--logger", name, LOGGERS) for name in dict.fromkeys(loggers)]
        above = merge(above, {"train": {"loggers": wanted}})
    table = {key: value for key, value in {"target": target, "drop": drop}.items() if value}
    above = merge(above, {"data": table} if table else {})
    if no_images:
        above = merge(above, {"report": {"images": False}})
    if focus is not None:
        above = merge(above, {"focus": focus})
    return merge(above, {"train": {"max_minutes": minutes}}) if minutes is not None else above


def labels_of(
    column: str | None, separator: str | None, columns: str | None, drop: str | None
) -> dict[str, Any]:
    """The overrides of the options for several labels an image.

    Args:
        column: that holds lists.
        separator: between the labels of a list.
        columns: of single labels, separated by commas.
        drop: labels, separated by commas.

    Example:
        >>> labels_of(None, None, "cat,dog", None)
        {'data': {'label_columns': ['cat', 'dog']}}
    """
    given: dict[str, Any] = {
        "labels_column": column,
        "label_separator": separator,
        "label_columns": _listed(columns),
        "drop_labels": _listed(drop),
    }
    data = {key: value for key, value in given.items() if value is not None}
    return {"data": data} if data else {}


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
