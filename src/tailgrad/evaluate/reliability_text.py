"""Reliability as tables to read, print and write as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailgrad.evaluate.estimate import NO_IMAGE
from tailgrad.evaluate.readable import share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tailgrad.evaluate.conformal import Conformal
    from tailgrad.evaluate.estimate import Estimate
    from tailgrad.evaluate.reliability import Reliability

WORDS = {"marginal": "all together", "thirds": "by third", "class": "by class"}
"""What a way of ranking is called."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of texts.

    Args:
        title: what it shows.
        header: one text a column.
        rows: cells as texts, blank where nothing is known.
        note: how to read it.

    Example:
        >>> TextTable("Fruit", ("name", "n"), (("fig", "3"),), "").rows[0][1]
        '3'
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def signed_share(figure: Estimate) -> str:
    """A difference of shares with its interval in few characters.

    Example:
        >>> from tailgrad.evaluate.estimate import Estimate
        >>> signed_share(Estimate(0.12, -0.05, 0.2))
        '+0.12 [-.05, +.20]'
    """
    if figure.low is None or figure.high is None:
        return f"{figure.value:+.2f}"
    low, high = (f"{end:+.2f}".replace("0.", ".", 1) for end in (figure.low, figure.high))
    return f"{figure.value:+.2f} [{low}, {high}]"


@dataclass(frozen=True, slots=True)
class Style:
    """How figures with intervals are written.

    Args:
        share: a share, as ``0.50 [.40-.60]``.
        gap: a difference of shares, as ``+0.12 [-.05, +.20]``.

    Example:
        >>> from tailgrad.evaluate.estimate import Estimate
        >>> Style().share(Estimate(0.5, 0.4, 0.6))
        '0.50 [.40-.60]'
    """

    share: Callable[[Estimate], str] = share
    gap: Callable[[Estimate], str] = signed_share


def tables(found: Reliability, style: Style | None = None) -> tuple[TextTable, ...]:
    """Calibration, confusions, abstention and sets; classes with most training images first.

    Args:
        found: what is to be told.
        style: of figures with intervals; None for the short one.

    Example: see ``as_text``.
    """
    style = style or Style()
    order = sorted(range(found.classes.num_classes), key=lambda k: -found.classes.counts[k])
    return (
        _calibration(found, order, style),
        _false_head(found, style),
        _abstention(found, order, style),
        *((_ways(found, style), _sets(found, order, style)) if found.conformal else ()),
    )


def as_text(found: Reliability) -> str:
    r"""The tables as aligned text, each with its note; at the end why there are no sets, if so.

    Example:
        >>> from tailgrad.evaluate import evaluate_reliability
        >>> from tailgrad.types import ClassInfo
        >>> part = [[2.0, 0.0], [0.0, 2.0]] * 10, [0, 1] * 10
        >>> print(as_text(evaluate_reliability(part, part, ClassInfo(("a", "b"), (9, 3)))).split("\n")[0])
        Stated probabilities, less what comes true
    """
    parts = [f"{one.title}\n{_aligned(one)}\n{one.note}" for one in tables(found)]
    return "\n\n".join([*parts, *([f"No conformal sets: {found.no_sets}"] if found.no_sets else [])])


def csv_rows(found: Reliability) -> list[dict[str, str | int | float | None]]:
    """One row of plain numbers a class, in class order, for ``csv.DictWriter``.

    Example: see ``tailgrad reliability --csv``.
    """
    rows = []
    for k, (name, count) in enumerate(zip(found.classes.names, found.classes.counts, strict=True)):
        own, kept = found.calibration[k], found.abstention.classes[k]
        row: dict[str, str | int | float | None] = {"class": name, "train": count, "test": own.images}
        row |= _ends("gap_predicted", own.gap_predicted) | _ends("gap_true", own.gap_true)
        row |= {"ece": own.ece, "debiased": own.debiased, "aurc": found.abstention.class_aurc[k]}
        row |= _ends("answered", kept.answered) | _ends("right_after", kept.after)
        row["false_head"] = _false_head_of(found, k)
        for sets in found.conformal:
            row |= _ends(f"covered_{sets.way}", sets.by_class[k])
            row |= {f"size_{sets.way}": sets.size_by_class[k], f"calibration_{sets.way}": sets.calibration[k]}
        rows.append(row)
    return rows


def _ends(name: str, figure: Estimate | None) -> dict[str, str | int | float | None]:
    ends = (None, None, None) if figure is None else (figure.value, figure.low, figure.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _false_head_of(found: Reliability, k: int) -> float | None:
    tail = found.false_head.tail
    return found.false_head.by_class[tail.index(k)].value if k in tail else None


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _told(figure: Estimate | None, say: Callable[[Estimate], str]) -> str:
    return "" if figure is None or figure.how == NO_IMAGE else say(figure)


def _calibration(found: Reliability, order: Sequence[int], style: Style) -> TextTable:
    rows = []
    for k in order:
        own = found.calibration[k]
        gaps = _told(own.gap_predicted, style.gap), _told(own.gap_true, style.gap)
        rows.append((found.classes.names[k], *gaps, _number(own.ece), _number(own.debiased)))
    rows += [(name, "", _told(gap, style.gap), "", "") for name, gap in found.group_gaps.items()]
    rows.append(("all", style.gap(found.gap), style.gap(found.gap), _number(found.ece), ""))
    return TextTable(
        "Stated probabilities, less what comes true",
        ("class", "gap when predicted", "gap on its images", "ECE", "debiased"),
        tuple(rows),
        "Gap: mean confidence less share right, above 0 where too much is promised. ECE: of the class's own "
        "probability over all images. Debiased: its root mean square without what chance gives.",
    )


def _false_head(found: Reliability, style: Style) -> TextTable:
    told = found.false_head
    rows = [
        ("False Head Rate: tail images called head", _told(told.rate, style.share)),
        ("head images called tail", _told(told.false_tail, style.share)),
        ("images called head that are tail", _told(told.of_predictions, style.share)),
        *(
            (f"images of {found.classes.names[k]} called head", _told(one, style.share))
            for k, one in zip(told.tail, told.by_class, strict=True)
        ),
    ]
    names = {
        part: ", ".join(found.classes.names[k] for k in getattr(told, part)) for part in ("head", "tail")
    }
    return TextTable(
        "Rare classes taken for frequent ones",
        ("what", "share"),
        tuple(rows),
        f"Thirds of the classes by training images: head {_cut(names['head'])}; tail {_cut(names['tail'])}.",
    )


def _cut(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _abstention(found: Reliability, order: Sequence[int], style: Style) -> TextTable:
    told = found.abstention
    named = [(found.classes.names[k], told.classes[k], told.class_aurc[k]) for k in order]
    named += [(name, group, None) for name, group in told.groups.items()]
    named.append(("all", told.overall, told.aurc))
    rows = tuple(
        (name, *(_told(part, style.share) for part in (one.answered, one.before, one.after)), _number(area))
        for name, one, area in named
    )
    return TextTable(
        "If the least sure images are withheld",
        ("class", "answered", "right of all", "right of answered", "AURC"),
        rows,
        f"Answered: images of a confidence of {told.threshold:.3f} or more, as {100 * told.wanted:.0f} % of "
        "the validation images have. AURC: share wrong, averaged over all thresholds.",
    )


def _ways(found: Reliability, style: Style) -> TextTable:
    names = found.classes.num_classes
    rows = tuple(
        (
            WORDS[sets.way],
            style.share(sets.coverage),
            *(_told(sets.groups[part], style.share) for part in ("head", "tail")),
            _number(sets.size.value, 2),
            f"{sum(sets.always)} of {names}",
        )
        for sets in found.conformal
    )
    wanted = 1 - found.options.alpha
    return TextTable(
        f"Conformal sets that should hold the class in {wanted:.4g} of images",
        ("ranked", "covered", "head", "tail", "mean size", "always in"),
        rows,
        f"Made on {found.images[0]} validation images ({found.options.score} score). All together: the "
        "promise is for the validation part's mix of classes; by class: for every class. A class with too "
        "few validation images is always in.",
    )


def _sets(found: Reliability, order: Sequence[int], style: Style) -> TextTable:
    whole, _, own = found.conformal
    rows = tuple(
        (
            found.classes.names[k],
            f"{own.calibration[k]}{'*' if own.always[k] else ''}",
            *_pair(whole, k, style),
            *_pair(own, k, style),
        )
        for k in order
    )
    return TextTable(
        "Coverage and mean size of the sets of each class's images",
        ("class", "val. images", "covered, all together", "size", "covered, by class", "size"),
        rows,
        "Intervals are exact (Clopper-Pearson). A star: too few validation images, the class is always in.",
    )


def _pair(sets: Conformal, k: int, style: Style) -> tuple[str, str]:
    return _told(sets.by_class[k], style.share), _number(sets.size_by_class[k], 2)


def _aligned(table: TextTable) -> str:
    wide = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    rule = "─" * (sum(wide) + 2 * (len(wide) - 1))
    lines = ("  ".join(map(str.ljust, row, wide)).rstrip() for row in (table.header, *table.rows))
    first, *rest = lines
    return "\n".join([first, rule, *rest])
