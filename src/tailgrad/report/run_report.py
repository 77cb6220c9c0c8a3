"""The page of one run."""

import numpy as np

from tailgrad.evaluate import ONE_SEED, Estimate
from tailgrad.report.blocks import Block, Card, Folded, Grid, Page, Section, Table, Text
from tailgrad.report.certainty import advice_blocks
from tailgrad.report.conflict import branch_blocks, conflict_blocks
from tailgrad.report.figures import CONFUSION, Curve, Series, class_bars, curves, heat_map
from tailgrad.report.folders import Run
from tailgrad.report.prior import prior_blocks
from tailgrad.report.tables import class_table, folded_if_long, group_table, key_table, matrix_table
from tailgrad.report.wording import duration, interval, number, short

CONCLUSION = (
    f"This is one run with one seed: {ONE_SEED}. "
    "To tell whether a method is better than another, compare them over three seeds or more."
)
LOSS_MEANING = (
    "Loss on training and validation images. A validation loss that turns upwards while the training loss"
    " falls is overfitting; under weighting or strong augmentation the two are not on one scale."
)
SCORE_MEANING = (
    "Macro-F1 counts every class alike; the worst class is the one with the lowest F1. The star marks the"
    " epoch that was kept, chosen on validation images only."
)
CONFUSION_MEANING = "Rows are true classes and sum to 100 %; off the diagonal lie the errors."
GLOSSARY = (
    ("macro-F1", "Mean F1 over classes, each with the same weight, however few its images."),
    ("F1", "Harmonic mean of precision and recall; 0 for a class that is never found."),
    ("precision", "Of the images given to a class, the share that belongs to it."),
    ("recall", "Of the images of a class, the share that is found."),
    ("balanced accuracy", "Mean recall over classes."),
    ("ECE", "Expected calibration error: how far stated probabilities are from how often they come true."),
    (
        "interval",
        "Where the figure would lie with other test images (95 %); it says nothing about other seeds.",
    ),
    (
        "seed",
        "Start of all random numbers: split, initial weights, order of images. Another seed, another figure.",
    ),
)


def run_page(run: Run) -> Page:
    """Everything about one run.

    Args:
        run: the run.

    Example: see ``write_report``.
    """
    result = run.result
    facts = (
        f"method {run.method}",
        f"data {short(str(result['data']), 40)}",
        f"regime {result['regime']}",
        f"seed {result['seed']}",
        f"{run.classes.num_classes} classes",
        f"{sum(run.classes.counts)} training images",
        f"{run.test.images} test images",
        *(("not run to its end",) if result.get("status") != "finished" else ()),
    )
    measured = {run.method: [run.interference]}
    sections = (
        Section("What to try", advice_blocks(result.get("advice") or ())),
        Section("Every class", _class_blocks(run)),
        Section("Where the errors go", confusion_blocks({run.method: (run,)})),
        Section("Which classes oppose one another", conflict_blocks(measured)),
        Section("Branches", branch_blocks(measured)),
        Section("Class prior and thresholds", prior_blocks(run.result)),
        Section("Training", _training_blocks(run)),
        Section("How this was made", made_blocks(run)),
    )
    return Page(f"{run.method} on {short(str(result['data']), 60)}", facts, _cards(run), CONCLUSION, sections)


def _card(label: str, figure: Estimate) -> Card:
    return Card(label, number(figure.value), f"95 %: {interval(figure.low, figure.high)}")


def _cards(run: Run) -> tuple[Card, ...]:
    test, focus = run.test, run.result.get("focus")
    worst = test.row(test.worst_class)
    cards = (
        _card("macro-F1 on test images", test.macro_f1),
        _card("balanced accuracy", test.balanced_accuracy),
        _card("accuracy", test.accuracy),
        _card(f"worst class: {short(worst.name, 40)}", worst.f1),
    )
    if not focus:
        return cards
    label = f"F1 of {short(focus['class'], 40)}, threshold {number(focus['threshold'])}"
    return (_card(label, Estimate.from_dict(focus["f1"])), *cards)


def _class_blocks(run: Run) -> tuple[Block, ...]:
    figures = tuple(row.f1 for row in run.test.classes)
    notes = []
    zero = run.test.undefined["recall"]
    if zero:
        notes.append(
            Text(f"{zero} classes have no test image; their figures are 0 by convention and count as such.")
        )
    return (
        class_bars(run.classes, [Series(run.method, figures)]),
        *notes,
        folded_if_long(class_table(run.test)),
        group_table(run.test),
    )


def confusion_blocks(runs: dict[str, tuple[Run, ...]]) -> tuple[Block, ...]:
    """Confusion matrices side by side, counts summed over the runs of a label.

    Example: see ``write_report``.
    """
    figures: list[Block] = []
    tables: list[Block] = []
    for label, found in runs.items():
        classes = found[0].classes
        counts = np.sum([run.test.confusion for run in found], axis=0)
        totals = counts.sum(1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
        figures.append(heat_map(f"Confusion: {label}", CONFUSION_MEANING, shares, classes, scale=CONFUSION))
        if classes.num_classes <= 60:
            tables.append(matrix_table(f"Counts, {label} (rows: true class)", counts.tolist(), classes, 0))
    return (Grid(tuple(figures)), *tables)


def _training_blocks(run: Run) -> tuple[Block, ...]:
    if not run.epochs:
        return ()
    best = run.result.get("best_epoch")
    losses = [
        curve(run, key, label, best)
        for key, label in (("train_loss", "training"), ("val_loss", "validation"))
    ]
    scores = {"val_macro_f1": "macro-F1", "val_worst_f1": "worst class", "val_accuracy": "accuracy"}
    lines = [curve(run, key, label, best) for key, label in scores.items()]
    known = [[line for line in group if any(v is not None for v in line.values)] for group in (losses, lines)]
    blocks: list[Block] = []
    if known[0]:
        blocks.append(curves("Loss", LOSS_MEANING, "loss", known[0]))
    if known[1]:
        blocks.append(curves("Validation figures", SCORE_MEANING, "validation figure", known[1]))
    return (*blocks, _epoch_table(run))


def curve(run: Run, key: str, label: str, best: int | None) -> Curve:
    """One column of a run's metrics over its epochs.

    Example: see ``write_report``.
    """
    epochs = tuple(int(row["epoch"]) for row in run.epochs)
    return Curve(label, epochs, tuple(row.get(key) for row in run.epochs), best)


def _epoch_table(run: Run) -> Folded:
    keys = [key for key, value in run.epochs[0].items() if isinstance(value, int | float) and key != "epoch"]
    rows = tuple((str(row["epoch"]), *(_cell(row.get(key)) for key in keys)) for row in run.epochs)
    return Folded("Every epoch: table", (Table("Figures by epoch", ("epoch", *keys), rows),))


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else number(None)


def made_blocks(run: Run) -> tuple[Block, ...]:
    """Configuration, split, environment and the words used.

    Example: see ``write_report``.
    """
    result = run.result
    facts = (
        ("run", run.name),
        ("split, SHA-256", str(run.split.get("sha256", "not recorded"))),
        ("split seed", str(result.get("split_seed"))),
        ("epochs run, epoch kept", f"{result.get('epochs')}, {result.get('best_epoch')}"),
        ("parameters", f"{result['parameters']:,}" if result.get("parameters") else "not recorded"),
        ("time", duration(result["seconds"]) if result.get("seconds") else "not recorded"),
    )
    return (
        Table("The run", ("what", "value"), facts),
        key_table("Configuration", run.config),
        key_table("Environment", run.environment),
        Folded("Words used here", (Table("Words used here", ("word", "meaning"), GLOSSARY),)),
    )
