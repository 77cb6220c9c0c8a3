"""tailgrad compare."""

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


def compare(
    source: SourceArgument,
    methods: Annotated[
        str,
        typer.Option(
            "--methods", help="Names or YAML files, separated by commas; the first is the reference."
        ),
    ] = "baseline,csba",
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds; below 3 little can be told.")] = 3,
    regime: RegimeOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    focus: FocusOption = None,
    max_minutes: MinutesOption = None,
    own_regime: Annotated[
        bool, typer.Option("--own-regime", help="Let a method set keys of the regime.")
    ] = False,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train several methods under one regime over seeds and say whether they differ by more than chance.

    Example: tailgrad compare photos/ --methods baseline,csba --seeds 3
    """
    from tailgrad.recipes import compare as run
    from tailgrad.recipes.compose import overlay

    names = [name.strip() for name in methods.split(",") if name.strip()]
    chosen: Any = names
    if own_regime:
        chosen = {name: {**overlay("methods", name), "own_regime": True} for name in names}
    above = overrides_of(assignments, focus, max_minutes)
    study = run(
        source, chosen, seeds=seeds, regime=regime, overrides=above, out=out, resume=resume, console=err()
    )
    if as_json:
        show_json({"folder": str(study.folder), **study.comparison})
    else:
        _show(study)


def _show(study: Any) -> None:
    metric = study.comparison["metric"]
    paired = {row["method"]: row for row in study.comparison["paired"] if row["metric"] == metric}
    rows = []
    for row in study.comparison["rows"]:
        if row["metric"] == metric:
            difference = paired.get(row["method"], {"mean": None, "p_holm": None, "verdict": "reference"})
            p = difference["p_holm"]
            rows.append(
                [
                    row["method"],
                    str(row["n"]),
                    interval(row),
                    interval(difference, "+.3f"),
                    "" if p is None else f"{p:.3f}",
                    difference["verdict"],
                ]
            )
    header = ["method", "seeds", metric.replace("_", " "), "difference", "p", "verdict"]
    show_table("Means over seeds and paired differences, 95 % intervals, p after Holm", header, rows)
    show_text(study.conclusion)
    show_text(f"report: {study.report}")
