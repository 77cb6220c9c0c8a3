"""What to train a data set with, judged from its audit: each value with its reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tailgrad.data import Source
from tailgrad.data.audit import Audit
from tailgrad.data.audit_text import noun
from tailgrad.recipes.run_folder import flat
from tailgrad.recipes.usual_method import BALANCED, usual_method

_SIDES = (224, 192, 160, 128, 96)
_SMALL = 64
"""Median shorter side in pixels below which a network made for photographs sees too little."""

_EPOCHS = ((2_000, 40), (10_000, 30), (50_000, 20), (10**12, 10))
"""Epochs up to so many images: about the same work, and never fewer than ten looks at an image."""

_BATCHES = ((5_000, 32), (50_000, 64), (10**12, 128))
_MEASURED = ((20, 200, 8), (100, 50, 8), (1_000, 20, 4), (10**12, 10, 0))
"""Classes, images of each that are measured, and disjoint parts for the error bars."""


@dataclass(frozen=True)
class Setting:
    """A key of a recipe.

    Args:
        key: with its section, such as "data.size".
        value: as it is written.
        why: one or two sentences.

    Example:
        >>> Setting("seed", 0, "Chance.").key
        'seed'
    """

    key: str
    value: Any
    why: str


def settings_for(audit: Audit, source: Source, given: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Every key that matters for a data set.

    Args:
        audit: of the source.
        source: the same, opened.
        given: nested keys that the user has decided on.

    Returns:
        Settings in the order of the file, sections together.

    Example:
        >>> from tailgrad.data import audit, open_source
        >>> found = audit("digits-lt", near=False)
        >>> [s.value for s in settings_for(found, open_source("digits-lt"), {"seed": 3}) if s.key == "seed"]
        [3]
    """
    chosen = [*_top(audit, source), *_data(audit, source), *_train(audit, source)]
    chosen += _interference(audit) if source.regime == "folder" else []
    asked = {key: Setting(key, value, "As given on the command line.") for key, value in flat(given).items()}
    settings = [asked.pop(setting.key, setting) for setting in chosen]
    order = list(dict.fromkeys(_section(setting) for setting in [*settings, *asked.values()]))
    return tuple(sorted([*settings, *asked.values()], key=lambda setting: order.index(_section(setting))))


def _section(setting: Setting) -> str:
    return setting.key.rpartition(".")[0]


def _top(audit: Audit, source: Source) -> Iterator[Setting]:
    yield Setting("regime", *_regime(audit, source))
    yield Setting("method", *_method(audit, source))
    yield Setting(
        "seed", 0, "Chance enters here. One run is one draw: compare methods over three seeds or more."
    )
    if audit.labels is not None:
        return
    rarest = min((n, name) for name, n in audit.classes.items() if n)[1]
    if _factor(audit, source) >= BALANCED:
        yield Setting(
            "focus",
            None,
            "The class that matters most, if there is one: its F1 then chooses a threshold and, from 10 "
            "validation images on, the epoch." + ("" if source.profile else f" Rarest is {rarest[:60]!r}."),
        )


def _regime(audit: Audit, source: Source) -> tuple[str, str]:
    if source.regime != "folder":
        return (
            source.regime,
            "What stays fixed when methods are compared. This is the one made for this data set.",
        )
    if _is_small(audit):
        side = audit.sizes.short_side[1] if audit.sizes else 0
        return "small-12", (
            f"What stays fixed when methods are compared. The median shorter side is {side} pixels: a small "
            "network at the images' own size, in place of one made for photographs."
        )
    return "folder", (
        "What stays fixed when methods are compared. A small ResNet, pretrained where its weights can be "
        "had, which few images need most."
    )


def _is_small(audit: Audit) -> bool:
    return audit.sizes is not None and audit.sizes.short_side[1] < _SMALL


def _factor(audit: Audit, source: Source) -> float:
    """Of the training images: a benchmark is made long-tailed when it is split."""
    return float((source.profile and source.profile.imb_factor) or audit.imbalance_factor)


def _method(audit: Audit, source: Source) -> tuple[str, str]:
    if audit.labels is not None:
        return "asl", (
            "An asymmetric loss: most labels are absent from most images, and these easy negatives count "
            "less. Which loss is best only a comparison can tell, by the command above."
        )
    factor = _factor(audit, source)
    name, why = usual_method(factor)
    if factor < BALANCED:
        return name, why
    return name, f"{why} Which method is best only a comparison can tell, by the command above."


def _data(audit: Audit, source: Source) -> Iterator[Setting]:
    if audit.table is None:
        yield Setting("data.size", *_size(audit))
    if not audit.parts:
        kept = f"Share of the {noun(audit)}s that is kept for the end and chooses nothing."
        yield Setting("data.test", 0.2, kept)
    if "val" not in audit.parts and source.regime == "folder":
        yield Setting("data.val", 0.15, "Share that chooses the epoch, thresholds and temperatures.")
    found, items = audit.duplicates, "files" if audit.table is None else "rows"
    looked = "copies and near copies" if audit.near_searched else f"equal {noun(audit)}s"
    yield Setting(
        "data.group_duplicates",
        True,
        f"{found.files} {items} in {found.groups} group{'s'[: found.groups - 1]} are {looked} of one "
        "another; a group stays on one side of the split."
        if found.groups
        else f"No {looked} were found; if some come in later, they stay on one side of the split.",
    )
    if audit.table is None:
        yield Setting(
            "data.near_duplicates",
            audit.near_searched,
            "Whether near copies are looked for too; the time grows with the square of the images.",
        )
    yield from _faults(audit)


def _faults(audit: Audit) -> Iterator[Setting]:
    n = len(audit.unreadable)
    if n:
        yield Setting("data.skip_unreadable", True, f"Files that cannot be read, which are left out: {n}.")
    if audit.leakage:
        yield Setting(
            "data.drop_leaks",
            False,
            f"{len(audit.leakage)} pictures lie in several parts of the split that the data bring; true "
            "leaves their training images out.",
        )


def _size(audit: Audit) -> tuple[Any, str]:
    if audit.sizes is None or _is_small(audit):
        return "auto", "Small images keep their own size, or are enlarged to 32 pixels."
    short = audit.sizes.short_side[1]
    side = next((side for side in _SIDES if side <= short), _SIDES[-1])
    return side, f"Side in pixels; the median shorter side is {short}. Fewer are faster and show less."


def _train(audit: Audit, source: Source) -> Iterator[Setting]:
    if source.regime == "folder":
        epochs = next(epochs for most, epochs in _EPOCHS if audit.images <= most)
        batch = next(batch for most, batch in _BATCHES if audit.images <= most)
        yield Setting("train.epochs", epochs, f"With {audit.images} images; patience may end it before.")
        yield Setting(
            "train.patience",
            10 if epochs > 10 else 0,
            "Epochs without a better validation figure; 0 goes on.",
        )
        yield Setting("train.batch_size", batch, "Smaller ones meet the rare classes' images in more steps.")
    if audit.labels is not None:
        why = "how well each label ranks the images, every label counting the same"
        yield Setting("train.monitor", "mean_average_precision", f"What chooses the epoch: {why}.")
        return
    figure = "accuracy" if _factor(audit, source) < BALANCED else "macro_f1"
    why = "counts every class the same" if figure == "macro_f1" else "is fair where classes are balanced"
    yield Setting("train.monitor", figure, f"The validation figure that chooses the epoch; this one {why}.")


def _interference(audit: Audit) -> Iterator[Setting]:
    classes = len(audit.classes)
    most, folds = next((most, folds) for upto, most, folds in _MEASURED if classes <= upto)
    yield Setting(
        "interference.max_per_class",
        most,
        f"Images of each of the {classes} classes whose gradients are measured; more are slower and surer.",
    )
    yield Setting(
        "interference.folds",
        folds,
        "Disjoint parts of each class, for the error bars; too slow for so many classes."
        if not folds
        else "Disjoint parts of each class, for the error bars.",
    )
