"""tailgrad train."""

import sys
from typing import Annotated, Any

import typer

from tailgrad.cli import names as known
from tailgrad.cli.options import (
    DropLabelsOption,
    DropOption,
    FocusOption,
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
from tailgrad.cli.output import (
    interval,
    listener,
    loading,
    short,
    show_json,
    show_raw,
    show_table,
    show_text,
)
from tailgrad.cli.resume import resume_command

RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Regime and method in one: a name or YAML file.",
        autocompletion=known.recipes,
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="What is tried (head, loss, sampler, stages ...): a name or YAML file. Default: baseline.",
        autocompletion=known.methods,
    ),
]


def train(
    source: SourceArgument,
    recipe: RecipeOption = None,
    method: MethodOption = None,
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
    tune_speed: TuneOption = False,
    loggers: LoggerOption = None,
    assignments: SetOption = None,
    no_images: NoImagesOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier of images or table rows, evaluate it with intervals, measure its interference.

    The epoch is chosen on validation images carved from the training images; the
    test images are used once, at the end. Ctrl-C saves, and prints the command
    that goes on. With --max-minutes, class gradients are measured of as many
    images as a fifth of that time allows. For the names of recipes, methods and
    regimes see: tailgrad methods.

    Examples:
        tailgrad train photos/
        tailgrad train photos/ --recipe quick --out runs/first
        tailgrad train photos/ --recipe photos.yaml --logger tensorboard
        tailgrad train photos/ --method csba --focus Broken --max-minutes 30
        tailgrad train digits-lt --set optim.lr=0.01 --set train.epochs=5
        tailgrad train patients.csv --target sick --drop patient_id
        tailgrad train list.csv --labels-column labels --separator ,
    """
    with loading(quiet):
        from tailgrad.distributed import place
        from tailgrad.recipes import train as run
        from tailgrad.recipes.compose import merge

    above = overrides_of(assignments, focus, max_minutes, tune_speed, loggers, no_images, target, drop)
    above = merge(above, labels_of(labels_column, separator, label_columns, drop_labels))
    if max_minutes is not None:
        above = merge({"interference": {"minutes": max_minutes / 5}}, above)
    found = run(
        source,
        recipe,
        method=method,
        regime=regime,
        overrides=above,
        out=out,
        resume=resume,
        console=listener(quiet),
    )
    if place()[0]:  # of several processes the first one speaks
        return
    if as_json:
        show_json({"folder": str(found.folder), **found.result})
    else:
        _show(found)


def _show(run: Any) -> None:
    from tailgrad.evaluate.readable import HEADER, headline, table_rows
    from tailgrad.evaluate.result import Evaluation

    if "thresholds" in run.result:
        _show_labels(run)
        return
    test, focus = Evaluation.from_dict(run.result["test"]), run.result["focus"]
    show_table("Test set, with 95 % intervals", HEADER, table_rows(test))
    show_text(f"\n{headline(test)}")
    if focus:
        threshold = f"at the tuned threshold {focus['threshold']:.3f}"
        show_text(f"{short(focus['class'])}: F1 {interval(focus['f1'])} {threshold}")
    _show_end(run)


def _show_labels(run: Any) -> None:
    """A row a label, and the figures over all of them."""
    from tailgrad.evaluate.readable import share
    from tailgrad.evaluate.several_labels import LabelEvaluation

    test = LabelEvaluation.from_dict(run.result["test"])
    header = ("label", "train", "test", "AP", "AUC", "F1", "threshold")
    rows = [
        [
            short(row.name),
            str(row.train_count),
            str(row.support),
            *("" if one is None else share(one) for one in (row.average_precision, row.auc, row.f1)),
            f"{row.threshold:.2f}" if row.fitted else "0.5",
        ]
        for row in test.classes
    ]
    show_table("Test set, with 95 % intervals", header, rows)
    show_text(
        f"\nmean average precision {test.mean_average_precision}   macro-AUC {test.macro_auc}   macro-F1 "
        f"{test.macro_f1}"
    )
    _show_end(run)


def _show_end(run: Any) -> None:
    if run.result["status"] == "stopped":
        n = run.result["epochs"]
        show_text(f"The time was used up after {n} epoch{'s'[: n - 1]}. Go on with:")
        show_raw(resume_command(sys.argv))
    show_raw(f"report: {run.report}")
