"""The page of one run."""

from tailgrad.evaluate import ONE_SEED
from tailgrad.report.advice_table import advice_blocks, advice_lead
from tailgrad.report.blocks import Block, Checks, Folded, Page, Part, Section, Table, Text
from tailgrad.report.causes import causes
from tailgrad.report.causes import lead as causes_lead
from tailgrad.report.conflict import branch_blocks, conflict_blocks
from tailgrad.report.errors import confusion_blocks
from tailgrad.report.examples import Examples
from tailgrad.report.figures import Curve, Series, class_bars, curves
from tailgrad.report.folders import Run
from tailgrad.report.headline import cards, lead
from tailgrad.report.over_training import over_training_blocks
from tailgrad.report.prior import prior_blocks
from tailgrad.report.reliability import reliability_parts
from tailgrad.report.tables import class_table, group_table, key_table
from tailgrad.report.trust import missing, run_checks
from tailgrad.report.wording import duration, number, short

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
GOOD, WHY = "Is it good where it matters?", "Why does it fail there?"
HELP, TRUST = "What would help?", "Can I trust this?"
CAUSES = ("What may be the cause", "what the figures say", "in figures")
CHECKED = ("What was checked", "outcome", "in words")
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


def run_page(run: Run, pictures: Examples | None = None) -> Page:
    """Everything about one run, in the order of a reader's questions.

    Args:
        run: the run.
        pictures: example images, or None for none.

    Example: see ``write_report``.
    """
    shown = pictures or Examples()
    checks = causes(run)
    advice = run.result.get("advice") or ()
    absent = missing(run)
    sections = (
        Section(GOOD, _good(run, shown), lead(run.test), "Good?"),
        Section(
            WHY, (Checks("Possible causes", CAUSES, checks), *_why(run, shown)), causes_lead(checks), "Why?"
        ),
        Section(HELP, (Part("What to try", advice_blocks(advice)),), advice_lead(advice), "What helps?"),
        Section(TRUST, _trust(run), _trust_lead(absent), "Trust?"),
    )
    title = f"{run.method} on {short(str(run.result['data']), 60)}"
    return Page(title, _facts(run), cards(run), CONCLUSION, sections, absent)


def _facts(run: Run) -> tuple[str, ...]:
    result = run.result
    return (
        f"method {run.method}",
        f"data {short(str(result['data']), 40)}",
        f"regime {result['regime']}",
        f"seed {result['seed']}",
        f"{run.classes.num_classes} classes",
        f"{sum(run.classes.counts)} training images",
        f"{run.test.images} test images",
        *(("not run to its end",) if result.get("status") != "finished" else ()),
    )


def _good(run: Run, pictures: Examples) -> tuple[Block, ...]:
    return (
        Part("Every class", _class_blocks(run)),
        Part("Rare and frequent classes", (group_table(run.test),)),
        Part("Classes that are hurt, in examples", pictures.of_hurt),
    )


def _why(run: Run, pictures: Examples) -> tuple[Block, ...]:
    measured = {run.method: [run.interference]}
    return (
        Part("Where the errors go", confusion_blocks({run.method: (run,)})),
        Part("The worst confusions, in examples", pictures.of_mistakes),
        Part("Which classes oppose one another", conflict_blocks(measured)),
        Part("Conflict while training", over_training_blocks(run)),
        Part("Branches", branch_blocks(measured)),
        Part("Class prior and thresholds", prior_blocks(run.result)),
    )


def _trust(run: Run) -> tuple[Block, ...]:
    return (
        Checks("What was checked", CHECKED, run_checks(run)),
        *reliability_parts(run),
        Part("Training", _training_blocks(run)),
        Part("How this was made", made_blocks(run)),
    )


def _trust_lead(absent: tuple[str, ...]) -> str:
    said = "As one run: its intervals hold the chance of other test images, not of another seed."
    return f"{said} Not in this folder: {'; '.join(absent)}." if absent else said


def _class_blocks(run: Run) -> tuple[Block, ...]:
    figures = tuple(row.f1 for row in run.test.classes)
    notes = []
    zero = run.test.undefined["recall"]
    if zero:
        notes.append(
            Text(f"{zero} classes have no test image; their figures are 0 by convention and count as such.")
        )
    return (class_bars(run.classes, [Series(run.method, figures)]), *notes, class_table(run.test))


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
