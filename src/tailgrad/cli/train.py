"""tailgrad train."""

from typing import Annotated, Any

import typer

from tailgrad.cli.options import (
    FocusOption,
    JsonOption,
    MinutesOption,
    OutOption,
    RegimeOption,
    ResumeOption,
    SetOption,
    SourceArgument,
    overrides_of,
)
from tailgrad.cli.output import err, interval, show_json, show_table, show_text


def train(
    source: SourceArgument,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Regime and method in one: a name or YAML file.")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="Method: a name or YAML file.")] = None,
    regime: RegimeOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    focus: FocusOption = None,
    max_minutes: MinutesOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier, evaluate it with intervals, measure its interference, write a report.

    Examples: tailgrad train photos/ --recipe quick; tailgrad train photos/ --focus Broken --max-minutes 30
    """
    from tailgrad.recipes import train as run

    above = overrides_of(assignments, focus, max_minutes)
    found = run(
        source, recipe, method=method, regime=regime, overrides=above, out=out, resume=resume, console=err()
    )
    if as_json:
        show_json({"folder": str(found.folder), **found.result})
    else:
        _show(found)


def _show(run: Any) -> None:
    test, focus = run.result["test"], run.result["focus"]
    rows = [
        [
            row["name"],
            str(row["train_count"]),
            str(row["support"]),
            *(interval(row[key], ".2f") for key in ("precision", "recall", "f1")),
        ]
        for row in test["classes"]
    ]
    show_table("Test set, with 95 % intervals", ["class", "train", "test", "precision", "recall", "F1"], rows)
    show_text(f"macro-F1 {interval(test['macro_f1'])}   accuracy {interval(test['accuracy'])}")
    if focus:
        show_text(
            f"{focus['class']}: F1 {interval(focus['f1'])} at the tuned threshold {focus['threshold']:.3f}"
        )
    if run.result["status"] == "stopped":
        show_text(
            f"stopped by {run.result['stopped_by']} after {run.result['epochs']} epochs; --resume goes on"
        )
    show_text(f"report: {run.report}")
