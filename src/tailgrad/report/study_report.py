"""The page of a study: several methods over seeds."""

from typing import Any

from tailgrad.evaluate import units_of
from tailgrad.report.advice_table import advice_of_methods
from tailgrad.report.blocks import Block, Checks, Folded, Page, Part, Section, Table, Text
from tailgrad.report.class_differences import class_difference_blocks
from tailgrad.report.comparison import comparison_blocks, comparison_cards
from tailgrad.report.conflict import branch_blocks, conflict_blocks
from tailgrad.report.errors import confusion_blocks
from tailgrad.report.examples import Examples
from tailgrad.report.figures import curves
from tailgrad.report.folders import Study
from tailgrad.report.left_over import compared
from tailgrad.report.method_causes import causes_of_methods
from tailgrad.report.prior import method_blocks
from tailgrad.report.run_report import CHECKED, GOOD, HELP, SCORE_MEANING, TRUST, WHY, curve, made_blocks
from tailgrad.report.side_by_side import side_by_side_blocks
from tailgrad.report.tables import key_table
from tailgrad.report.trust import missing_of_study, study_checks
from tailgrad.report.winner import winner
from tailgrad.report.wording import duration, short

UNFINISHED = "The study is not finished: there is no conclusion yet."


def study_page(study: Study, pictures: Examples | None = None) -> Page:
    """Everything about a study, in the order of a reader's questions.

    Args:
        study: the study.
        pictures: example images of its first run, or None for none.

    Example: see ``write_report``.
    """
    comparison = compared(study)
    advice = {m: [run.result.get("advice") or () for run in runs] for m, runs in study.runs.items()}
    helps = advice_of_methods(advice)
    causes, why = causes_of_methods(study)
    shown = pictures or Examples()
    sections = (
        Section("Which method wins?", _wins(study, comparison), winner(comparison, study), "Which wins?"),
        Section(GOOD, _good(study, shown), _good_lead(study), "Good?"),
        Section(WHY, (*causes, *_why(study, shown)), why, "Why?"),
        Section(HELP, (Part("What to try", helps),), _help_lead(helps), "What helps?"),
        Section(TRUST, _trust(study), _trust_lead(study), "Trust?"),
    )
    conclusion = str(study.comparison.get("conclusion") or UNFINISHED)
    cards, absent = comparison_cards(comparison), missing_of_study(study)
    return Page(_title(study), _facts(study), cards, conclusion, sections, absent)


def _wins(study: Study, comparison: dict[str, Any]) -> tuple[Block, ...]:
    return (
        Part("Methods compared", comparison_blocks(comparison, study.seeds)),
        Part("Two runs side by side", side_by_side_blocks(study)),
    )


def _good(study: Study, pictures: Examples) -> tuple[Block, ...]:
    return (
        Part("Every class", class_difference_blocks(study)),
        Part("Classes that are hurt, in examples", _of_first(study, pictures.of_hurt)),
    )


def _why(study: Study, pictures: Examples) -> tuple[Block, ...]:
    measured = {method: [run.interference for run in runs] for method, runs in study.runs.items()}
    units = {method: units_of(run.seed_and_split for run in runs) for method, runs in study.runs.items()}
    return (
        Part("Where the errors go", confusion_blocks(study.runs)),
        Part("The worst confusions, in examples", _of_first(study, pictures.of_mistakes)),
        Part("Which classes oppose one another", conflict_blocks(measured, units, study.test_train_ratio)),
        Part("Branches", branch_blocks(measured)),
        Part("Class prior and thresholds", method_blocks(_results(study))),
    )


def _of_first(study: Study, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    return (Text(f"Shown here: {study.first.name}."), *blocks) if blocks else ()


def _trust(study: Study) -> tuple[Block, ...]:
    return (
        Checks("What was checked", CHECKED, study_checks(study)),
        Part("Training", _training_blocks(study)),
        Part("How this was made", _made_blocks(study)),
    )


def _trust_lead(study: Study) -> str:
    left = len(study.unfinished)
    failed = f" {left} of {left + len(study.all_runs)} runs did not finish and are left out." if left else ""
    return f"As far as {study.units.words} go.{failed}"


def _good_lead(study: Study) -> str:
    means = {
        method: sum(run.test.row(run.test.worst_class).f1.value for run in runs) / len(runs)
        for method, runs in study.runs.items()
    }
    told = "; ".join(f"{method} {mean:.3f}" for method, mean in list(means.items())[:6])
    return f"F1 of the worst class, mean over runs: {told}."


def _help_lead(helps: tuple[Block, ...]) -> str:
    said = "The comparison above says what helped; below stands what the runs' own figures speak for."
    return said if helps else "The runs hold no advice, or nothing stands out of the noise."


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
    if study.test_train_ratio is None:
        return "one split for all"
    return "splits are drawn anew" if study.units.name == "split" else "every seed draws its own split"


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
    told = [f"{name} ({short(why, 160)})" if why else name for name, why in study.unfinished.items()]
    unfinished = Text(f"Not finished, left out: {', '.join(told)}.", strong=True)
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
