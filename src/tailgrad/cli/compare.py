"""tailgrad compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tailgrad.checks import InputError
from tailgrad.cli import names as known
from tailgrad.cli.options import (
    AddressOption,
    DropLabelsOption,
    DropOption,
    EngineOption,
    FocusOption,
    JobsOption,
    JsonOption,
    LabelColumnsOption,
    LabelsOption,
    LoggerOption,
    MinutesOption,
    NoImagesOption,
    OutOption,
    QuietOption,
    RegimeOption,
    ResumeOption,
    SeparatorOption,
    SetOption,
    SourceArgument,
    TargetOption,
    TuneOption,
    labels_of,
    overrides_of,
)
from tailgrad.cli.output import interval, listener, loading, show_json, show_raw, show_table, show_text

_MANY = "(not even 1000)"

MethodsOption = Annotated[
    str,
    typer.Option(
        "--methods",
        metavar="NAMES",
        help="Names or YAML files, separated by commas; the others are compared with the first. all stands "
        "for every method that suits network and data, all:loss for those that act on the loss.",
        autocompletion=known.several_methods,
    ),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", metavar="N", help="Number of seeds; below 3 little can be told.")
]
SplitsOption = Annotated[
    int | None,
    typer.Option(
        "--split-seeds", metavar="N", help="Splits, crossed with the seeds. By default a split a seed."
    ),
]


def compare(
    source: SourceArgument,
    methods: MethodsOption = "baseline,csba",
    seeds: SeedsOption = 3,
    split_seeds: SplitsOption = None,
    regime: RegimeOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    target: TargetOption = None,
    drop: DropOption = None,
    labels_column: LabelsOption = None,
    separator: SeparatorOption = None,
    label_columns: LabelColumnsOption = None,
    drop_labels: DropLabelsOption = None,
    focus: FocusOption = None,
    max_minutes: MinutesOption = None,
    jobs: JobsOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    own_regime: Annotated[
        bool, typer.Option("--own-regime", help="Let a method set keys of the regime too.")
    ] = False,
    tune_speed: TuneOption = False,
    loggers: LoggerOption = None,
    assignments: SetOption = None,
    no_images: NoImagesOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train several methods under one regime over seeds and say whether they differ by more than chance.

    All methods see the same splits, the same order of images and the same
    schedule. Writes a study folder with every run, the figures and report.html,
    and says before the first epoch how long it will take. With one seed nothing
    can be concluded. Runs side by side give the same figures as one at a time; a
    run whose process dies is tried again, and --resume goes on with the rest. Methods
    that ran before and are not named any more still count in the correction of p.

    Examples:
        tailgrad compare photos/ --methods ce,balanced_softmax,csba --seeds 3
        tailgrad compare photos/ --methods ce,focal,csba --seeds 5 --jobs auto
        tailgrad compare photos/ --engine ray --address auto --out shared/study
        tailgrad compare photos/ --focus Broken --max-minutes 60
        tailgrad compare digits-lt --methods ce,all:sampler --seeds 3
        tailgrad compare patients.csv --target sick --methods ce,smote
        tailgrad compare digits-lt --methods baseline,focal,csba --resume
    """
    with loading(quiet):
        from tailgrad.recipes import compare as run
        from tailgrad.recipes.compose import merge

    above = overrides_of(assignments, focus, max_minutes, tune_speed, loggers, no_images, target, drop)
    study = run(
        source,
        _methods(methods, own_regime),
        seeds=seeds,
        split_seeds=split_seeds,
        regime=regime,
        overrides=merge(above, labels_of(labels_column, separator, label_columns, drop_labels)),
        out=out,
        resume=resume,
        console=listener(quiet),
        jobs=jobs,
        engine=engine,
        address=address,
    )
    if as_json:
        show_json({"folder": str(study.folder), **study.comparison})
    else:
        _show(study)


def _methods(text: str, own_regime: bool) -> Any:
    from tailgrad.recipes.compose import overlay

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not own_regime:
        return names
    for name in names:
        if name.partition(":")[0] == "all":
            raise InputError(f"--own-regime must come with methods by name, got {name!r}; name them")
    return {Path(name).stem: {**overlay("methods", name), "own_regime": True} for name in names}


def _show(study: Any) -> None:
    comparison = study.comparison
    show_comparison(comparison)
    show_text(f"\n{study.conclusion}")
    metric, unit = comparison["metric"], comparison.get("unit", "seed")
    paired = {row["method"]: row for row in comparison["paired"] if row["metric"] == metric}
    undecided = [row for row in paired.values() if row["verdict"] == "cannot be told"]
    if undecided:
        counts = ", ".join(f"{row['method']} {row.get('pairs_needed') or _MANY}" for row in undecided)
        show_text(f"{unit.capitalize()}s that would show a difference as large as found: {counts}.")
    show_raw(f"report: {study.report}")


def show_comparison(comparison: Mapping[str, Any], group: str = "") -> None:
    """Print one row a method: its mean, how far it is from the first method, and the verdict.

    Example:
        >>> row = {"method": "a", "metric": "accuracy", "mean": 0.5, "low": None, "high": None, "n": 1}
        >>> show_comparison({"metric": "accuracy", "rows": [row], "paired": []}, "digits: ")
        digits: means over 1 seed, differences to a, 95 % intervals, p after Holm
        method  accuracy  difference  p  verdict
        ──────────────────────────────────────────
        a          0.500                 reference
    """
    from tailgrad.recipes.table import metric_title

    metric, unit = comparison["metric"], comparison.get("unit", "seed")
    paired = {row["method"]: row for row in comparison["paired"] if row["metric"] == metric}
    rows = [row for row in comparison["rows"] if row["metric"] == metric]
    n, first = rows[0]["n"], rows[0]["method"]
    show_table(
        f"{group}{'means' if group else 'Means'} over {n} {unit}{'s'[: n - 1]}, differences to {first}, "
        "95 % intervals, p after Holm",
        ["method", metric_title(metric), "difference", "p", "verdict"],
        [_cells(row, paired.get(row["method"])) for row in rows],
    )


def _cells(row: Mapping[str, Any], difference: Mapping[str, Any] | None) -> list[str]:
    own = [row["method"], interval(row)]
    if difference is None:
        return [*own, "", "", "reference"]
    p = difference["p_holm"]
    verdict = "one seed only" if row["n"] == 1 else difference["verdict"]
    return [*own, interval(difference, "+.3f"), "" if p is None else f"{p:.3f}", verdict]
