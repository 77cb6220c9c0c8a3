"""The page of a study: several methods over seeds."""

from typing import Any

from tailgrad.report.blocks import Block, Folded, Page, Section, Table, Text
from tailgrad.report.class_differences import class_difference_blocks
from tailgrad.report.comparison import comparison_blocks, comparison_cards
from tailgrad.report.conflict import branch_blocks, conflict_blocks
from tailgrad.report.figures import curves
from tailgrad.report.folders import Study
from tailgrad.report.prior import method_blocks
from tailgrad.report.run_report import SCORE_MEANING, confusion_blocks, curve, made_blocks
from tailgrad.report.tables import key_table
from tailgrad.report.wording import duration, short


def study_page(study: Study) -> Page:
    """Everything about a study.

    Args:
        study: the study.

    Example: see ``write_report``.
    """
    measured = {method: [run.interference for run in runs] for method, runs in study.runs.items()}
    sections = (
        Section("Methods compared", comparison_blocks(study.comparison, study.seeds)),
        Section("Every class", class_difference_blocks(study)),
        Section("Where the errors go", confusion_blocks(study.runs)),
        Section("Which classes oppose one another", conflict_blocks(measured)),
        Section("Branches", branch_blocks(measured)),
        Section("Class prior and thresholds", method_blocks(_results(study))),
        Section("Training", _training_blocks(study)),
        Section("How this was made", _made_blocks(study)),
    )
    conclusion = str(
        study.comparison.get("conclusion") or "The study is not finished: there is no conclusion yet."
    )
    return Page(_title(study), _facts(study), comparison_cards(study.comparison), conclusion, sections)


def _results(study: Study) -> dict[str, list[dict[str, Any]]]:
    return {method: [run.result for run in runs] for method, runs in study.runs.items()}


def _title(study: Study) -> str:
    methods = list(study.runs)
    names = ", ".join(methods) if len(methods) <= 4 else f"{len(methods)} methods"
    return f"{names} on {short(str(study.first.result['data']), 60)}"


def _facts(study: Study) -> tuple[str, ...]:
    first = study.first
    differences = study.settings.get("differences")
    return (
        f"data {short(str(first.result['data']), 40)}",
        f"regime {first.result['regime']}",
        study.units.words,
        f"{first.classes.num_classes} classes",
        f"{sum(first.classes.counts)} training images",
        f"{first.test.images} test images",
        _tested_on(study),
        *((f"focus {short(str(study.settings['focus']), 40)}",) if study.settings.get("focus") else ()),
        *((f"methods differ in: {', '.join(map(str, differences))}",) if differences else ()),
        *(
            (f"{len(study.unfinished)} run{'s'[: len(study.unfinished) - 1]} not finished",)
            if study.unfinished
            else ()
        ),
    )


def _tested_on(study: Study) -> str:
    if study.settings.get("own_test"):
        return "test set of its own"
    return "one split for all" if study.test_train_ratio is None else "every seed draws its own split"


def _training_blocks(study: Study) -> tuple[Block, ...]:
    runs = [run for run in study.all_runs if run.epochs]
    if not runs:
        return ()
    lines = [curve(run, "val_macro_f1", run.method, run.result.get("best_epoch")) for run in runs]
    losses = [curve(run, "train_loss", run.method, run.result.get("best_epoch")) for run in runs]
    meaning = "One line a run, on the images it was trained on; different losses are not on one scale."
    return (
        curves("Validation macro-F1", SCORE_MEANING, "validation macro-F1", lines),
        Folded("Training loss", (curves("Training loss", meaning, "training loss", losses),)),
    )


def _made_blocks(study: Study) -> tuple[Block, ...]:
    header = ("run", "method", "seed", "epochs", "kept", "time", "split, SHA-256")
    rows = tuple(
        (
            run.name,
            run.method,
            str(run.result["seed"]),
            str(run.result.get("epochs")),
            str(run.result.get("best_epoch")),
            duration(run.result.get("seconds") or 0.0),
            str(run.split.get("sha256", "not recorded")),
        )
        for run in study.all_runs
    )
    unfinished = Text(f"Not finished, left out: {', '.join(study.unfinished)}.", strong=True)
    return (
        *((unfinished,) if study.unfinished else ()),
        Table("Runs", header, rows),
        key_table("Study", {key: value for key, value in study.settings.items() if key != "environment"}),
        *(
            Folded(f"Configuration of {method}, first seed", made_blocks(runs[0])[:2])
            for method, runs in study.runs.items()
        ),
        *made_blocks(study.first)[2:],
    )
