"""The pages of a run and of a study whose images have several labels."""

from typing import Any, cast

from tailgrad.evaluate import ONE_SEED
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.several_labels import TASK, LabelEvaluation
from tailgrad.interference.label_conflict import LabelConflict
from tailgrad.report.blocks import Block, Card, Page, Part, Section, Table, Text
from tailgrad.report.comparison import comparison_blocks, comparison_cards
from tailgrad.report.figures import curves
from tailgrad.report.figures.heat_map import heat_map
from tailgrad.report.folders import Run, Study
from tailgrad.report.label_tables import (
    label_group_table,
    label_table,
    methods_table,
    opposed_table,
    side_table,
)
from tailgrad.report.run_report import curve, made_blocks
from tailgrad.report.study_report import UNFINISHED
from tailgrad.report.wording import interval, number, short

_CONFLICT = (
    "Cosine of two labels' gradients beyond the null: below 0 (red) what is to be learnt of one is "
    "lost to the other. The null holds what predictions and features alone make of it."
)
_SIDES = (
    "Each label's gradient is pulled by the images that have it and by those that have not. A rare label's "
    "comes mostly from images without it. The cosine is that of the two sides, freed of noise (with few "
    "images it may pass -1 or 1); the last column is the same share at the logits."
)
_ONE = f"This is one run with one seed: {ONE_SEED}. Compare methods over three seeds or more."


def is_label_run(run: Run) -> bool:
    """Whether images of a run have several labels.

    Example: see ``write_report``.
    """
    return bool(run.result["test"].get("task") == TASK)


def label_run_page(run: Run) -> Page:
    """Everything about one run.

    Example: see ``write_report``.
    """
    test = _test(run)
    sections = (
        Section(
            "Is it good where it matters?",
            (
                Part("Every label", (label_table(test),)),
                Part("Rare and frequent labels", (label_group_table(test),)),
            ),
            _lead(test),
            "Good?",
        ),
        Section("Which labels are in one another's way?", _conflict(run), "", "Why?"),
        Section("Can I trust this?", _trust(run), "", "Trust?"),
    )
    title = f"{run.method} on {short(str(run.result['data']), 60)}"
    return Page(title, _facts(run), _cards(test), _ONE, sections)


def label_study_page(study: Study) -> Page:
    """Everything about a study.

    Example: see ``write_report``.
    """
    comparison = study.comparison
    found = {method: [_test(run) for run in runs] for method, runs in study.runs.items()}
    wins = comparison_blocks(comparison, study.seeds) if comparison else ()
    sections = (
        Section("Which method wins?", (Part("Methods compared", wins),), "", "Which wins?"),
        Section("Is it good where it matters?", (Part("Every label", (methods_table(found),)),), "", "Good?"),
        Section(
            "Which labels are in one another's way?",
            (Text(f"Shown here: {study.first.name}."), *_conflict(study.first), *_gradients(study)),
            "",
            "Why?",
        ),
        Section(
            "Can I trust this?",
            (Part("Runs", (_runs(study),)), Part("How this was made", made_blocks(study.first))),
            "",
            "Trust?",
        ),
    )
    title = f"{', '.join(list(study.runs)[:5])} on {short(str(study.first.result['data']), 60)}"
    conclusion = str(comparison.get("conclusion") or UNFINISHED)
    cards = comparison_cards(comparison) if comparison else ()
    facts = (*_facts(study.first)[1:], study.units.words)
    return Page(title, facts, cards, conclusion, sections)


def _test(run: Run) -> LabelEvaluation:
    return cast("LabelEvaluation", run.test)


def _facts(run: Run) -> tuple[str, ...]:
    result, test = run.result, _test(run)
    return (
        f"method {run.method}",
        f"data {short(str(result['data']), 40)}",
        f"regime {result['regime']}",
        f"seed {result['seed']}",
        f"{run.classes.num_classes} labels, several an image",
        f"{result['train_images']} training images",
        f"{test.images} test images, {test.without_labels} of them without a label",
    )


def _cards(test: LabelEvaluation) -> tuple[Card, ...]:
    named = {
        "mean average precision": test.mean_average_precision,
        "macro-AUC": test.macro_auc,
        "macro-F1 at fitted thresholds": test.macro_f1,
        "micro-F1 at fitted thresholds": test.micro_f1,
    }
    return tuple(_card(label, figure) for label, figure in named.items())


def _card(label: str, figure: Estimate) -> Card:
    if figure.low is None or figure.high is None:
        return Card(label, number(figure.value), "no interval")
    ends = (figure.low, figure.value, figure.high)
    return Card(label, number(figure.value), f"95 %: {interval(figure.low, figure.high)}", ends)


def _lead(test: LabelEvaluation) -> str:
    worst = test.row(test.worst_class)
    value = "" if worst.average_precision is None else f" at {number(worst.average_precision.value)}"
    lead = f"Lowest average precision: {short(worst.name)}{value} with {worst.train_count} training images."
    bare = test.undefined["average_precision"]
    return f"{lead} {bare} labels have no test image and are left out of the means." if bare else lead


def _conflict(run: Run) -> tuple[Block, ...]:
    found = cast("LabelConflict | None", run.interference.get("heldout"))
    if found is None:
        return (Text("Label gradients were not measured (interference.enabled)."),)
    opposed = opposed_table(found)
    nothing = Text("No pair of labels opposes one another beyond the null, as far as can be told.")
    return (
        Part(
            "Label by label",
            (
                heat_map("Excess conflict of labels, held-out images", _CONFLICT, found.excess, run.classes),
                opposed if opposed.rows else nothing,
                *(Text(note) for note in found.notes),
            ),
        ),
        Part("Positives and negatives", (Text(_SIDES), side_table(found))),
    )


def _gradients(study: Study) -> tuple[Block, ...]:
    """What the label gradients of each method come to, one row a run that measured them."""
    rows = []
    for run in study.all_runs:
        found: dict[str, Any] | None = (run.result.get("label_gradients") or {}).get("heldout")
        if found:
            keys = ("positive_share", "tail_positive_share", "mean_excess")
            rows.append((run.method, str(run.result["seed"]), *(number(found[key]) for key in keys)))
    if not rows:
        return ()
    header = ("method", "seed", "share of positives", "share of positives, tail", "mean excess conflict")
    caption = "Label gradients on held-out images, by run"
    return (Part("Label gradients of all runs", (Table(caption, header, tuple(rows)),)),)


def _trust(run: Run) -> tuple[Block, ...]:
    best = run.result.get("best_epoch")
    scores = {"val_mean_average_precision": "mean average precision", "val_macro_auc": "macro-AUC"}
    lines = [curve(run, key, label, best) for key, label in scores.items()]
    meaning = "The star marks the epoch that was kept, chosen on validation images only."
    drawn = (curves("Validation figures", meaning, "validation figure", lines),) if run.epochs else ()
    return (Part("Training", drawn), Part("How this was made", made_blocks(run)))


def _runs(study: Study) -> Table:
    rows = tuple(
        (
            run.name,
            run.method,
            str(run.result["seed"]),
            str(run.result.get("best_epoch")),
            number(_test(run).mean_average_precision.value),
            str(run.split.get("sha256", "not recorded")),
        )
        for run in study.all_runs
    )
    header = ("run", "method", "seed", "epoch kept", "mean average precision", "split, SHA-256")
    return Table("Runs", header, rows)
