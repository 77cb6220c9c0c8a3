"""How far a model can be relied on, class by class, as parts of a report."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.evaluate import Conformal, Estimate, Reliability, ReliabilityOptions, evaluate_reliability
from tailgrad.evaluate.estimate import NO_IMAGE
from tailgrad.evaluate.reliability_text import Style, TextTable, tables
from tailgrad.report.blocks import Block, Folded, Grid, Part, Table, Text
from tailgrad.report.figures.class_coverage import class_coverage
from tailgrad.report.figures.group_curves import group_curves
from tailgrad.report.folders import Run
from tailgrad.report.stored_logits import stored_images, stored_logits
from tailgrad.report.wording import estimate, interval, percent, signed
from tailgrad.types import ClassInfo

TITLES = (
    "Probabilities, class by class",
    "Rare classes taken for frequent ones",
    "If the least sure images are withheld",
    "Sets that hold the class",
)
TOO_MANY = (
    "Not drawn for so many images and classes: tailgrad reliability tells it, with --csv one line a class."
)
_MOST_CELLS = 2**23
"""Probabilities up to which a report draws these parts: seconds."""
_LONG = 15
"""Rows from which on a table is folded."""


def read_reliability(
    folder: Path, result: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> Reliability:
    """What the predictions of a run tell about reliability.

    Args:
        folder: of a finished run.
        result: what its ``result.json`` holds.
        options: the section ``reliability`` of its configuration; None for the defaults.

    Raises:
        InputError: predictions are missing, damaged or of several labels, or an option does not fit.

    Example: see ``tailgrad.reliability``.
    """
    found = result["classes"]
    names = {field.name for field in fields(ReliabilityOptions)}
    chosen = ReliabilityOptions(**{key: value for key, value in (options or {}).items() if key in names})
    parts = [stored_logits(folder, part) for part in ("val", "test")]
    classes = ClassInfo(tuple(found["names"]), tuple(found["counts"]))
    return evaluate_reliability(parts[0], parts[1], classes, chosen)


def reliability_parts(run: Run) -> tuple[Part, ...]:
    """Four parts of the answer to whether a run can be trusted; where they cannot be made, one that says why.

    Args:
        run: with its folder; without predictions in it there is nothing to show.

    Example: see ``write_report``.
    """
    if run.path is None or not (run.path / "predictions.parquet").is_file():
        return ()
    try:
        if stored_images(run.path) * run.classes.num_classes > _MOST_CELLS:
            return (Part(TITLES[0], (Text(TOO_MANY),)),)
        found = read_reliability(run.path, run.result, run.config.get("reliability"))
    except InputError as error:
        return (Part(TITLES[0], (Text(f"Not known: {error}."),)),)
    return tuple(Part(title, blocks) for title, blocks in zip(TITLES, _blocks(found), strict=True))


def _blocks(found: Reliability) -> tuple[tuple[Block, ...], ...]:
    calibration, false_head, withheld, *sets = tables(found, Style(estimate, _gap))
    return (
        (Text(_overconfident(found)), *_table(calibration)),
        (Text(_false_head(found)), *_table(false_head)),
        (Text(_withheld(found)), Grid(group_curves(found)), *_table(withheld)),
        _of_sets(found, sets),
    )


def _gap(figure: Estimate) -> str:
    return f"{signed(figure.value)} ({interval(figure.low, figure.high, sign=True)})"


def _table(one: TextTable) -> tuple[Block, ...]:
    table = Table(one.title, one.header, one.rows)
    shown = Folded(f"{one.title}: table", (table,)) if len(one.rows) > _LONG else table
    return (shown, Text(one.note))


def _overconfident(found: Reliability) -> str:
    gaps = {name: gap for name, gap in found.group_gaps.items() if gap is not None}
    told = ", ".join(f"{name} {gap.value:+.2f}" for name, gap in gaps.items())
    return (
        f"Mean confidence less share right: {found.gap.value:+.2f} over all test images; by the class they "
        f"belong to, {told}. Above 0 more is promised than comes true."
    )


def _false_head(found: Reliability) -> str:
    told = found.false_head
    return (
        f"False Head Rate: {_share(told.rate)} of the test images of the third of the classes with "
        "fewest training images are taken for a class of the third with most. The other way round it is "
        f"{_share(told.false_tail)}."
    )


def _share(figure: Estimate) -> str:
    return "an unknown share (no image)" if figure.how == NO_IMAGE else percent(figure.value)


def _withheld(found: Reliability) -> str:
    told = found.abstention
    head, tail = (told.groups[name] for name in ("head", "tail"))
    return (
        f"With the threshold at which {percent(told.wanted)} of the validation images are answered, "
        f"{_share(head.answered)} of the test images of frequent classes (head) are answered and "
        f"{_share(tail.answered)} of those of rare ones (tail)."
    )


def _of_sets(found: Reliability, sets: list[TextTable]) -> tuple[Block, ...]:
    if not sets:
        return (Text(f"No sets: {found.no_sets}."),)
    whole, _, own = found.conformal
    one, each = (_share(way.groups["tail"]) for way in (whole, own))
    said = (
        f"Sets made to hold the class of {percent(1 - found.options.alpha)} of images hold that of {one} of "
        f"the images of rare classes (tail) if all classes share one limit, and of {each} if each has its "
        f"own, with {whole.size.value:.2f} and {own.size.value:.2f} classes a set.{_always(own)}"
    )
    ways, classes = sets
    return (Text(said), *_table(ways), class_coverage(found), *_table(classes))


def _always(own: Conformal) -> str:
    few = sum(own.always)
    if not few:
        return ""
    return (
        f" {few} of {len(own.always)} classes have too few validation images for a limit of their own and "
        "are in every set."
    )
