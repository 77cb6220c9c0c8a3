"""A measurement in a few plain sentences: who is hurt, by whom, where, how surely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tailgrad.interference.findings import beyond_noise, hurt_classes, rare_classes, where
from tailgrad.interference.significance import all_opposed, rare_opposed, surest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tailgrad.interference.findings import Hurt
    from tailgrad.interference.result import Interference, Pair
    from tailgrad.interference.tiles import TiledInterference

_PAIRS = 3
_POINT = "estimated, without interval"
_NAME = 40  # longer class names are cut, so that one cannot drown the sentence
CAUTION = (
    "Conflict at convergence on training data is never evidence by itself; set held-out data, an early "
    "checkpoint and a class-balanced control beside it."
)


def summarise(result: Interference) -> str:
    """Sentences on what was measured, who is hurt by whom, where, how surely, and what may not be concluded.

    Example:
        >>> import torch
        >>> from tailgrad.interference import measure
        >>> result = measure(torch.nn.Linear(4, 4), [(torch.eye(4), torch.arange(4))], "all")
        >>> summarise(result).splitlines()[0]
        "Mean gradients of 4 classes compared over 4 examples (1 to 1 a class), parameters 'all'."
    """
    pairs = _most_opposed if result.excess_interval is None else _beyond_noise
    about = [_conflict, pairs, _hurt, _updated, _sure, _limits]
    return "\n".join([_measured(result), *(line for tell in about for line in tell(result))])


def summarise_many(result: TiledInterference) -> str:
    """The sentences that need no [K, K] array.

    Example: see ``TiledInterference``.
    """
    looked_at = f" of the {len(result.tiles.pairs)} of smallest conflict"
    told = [*_conflict(result), *_most_opposed(result, looked_at)]
    return "\n".join([_measured(result), *told, *result.notes, CAUTION])


def _measured(result: Interference) -> str:
    seen = result.counts[result.counts > 0]
    return (
        f"Mean gradients of {len(result.class_names)} classes compared over {seen.sum()} examples "
        f"({seen.min()} to {seen.max()} a class), parameters {result.primary!r}."
    )


def _conflict(result: Interference) -> Iterator[str]:
    if not np.isnan(result.mean):
        yield (
            f"Mean conflict (cosine) {result.mean:+.3f}; softmax competition and class prior alone give "
            f"{result.mean_null:+.3f}, so the excess is {result.mean_excess:+.3f}."
        )


def _most_opposed(result: Interference, looked_at: str = "") -> Iterator[str]:
    """The pairs of the smallest excess, where no interval tells which are more than noise."""
    pairs = result.worst_pairs(_PAIRS, by="excess")
    opposed = [_words(pair) for pair in pairs if pair.excess < 0]
    if opposed:
        yield f"Most opposed beyond that null: {'; '.join(opposed)}."
    elif pairs:
        yield (f"No pair{looked_at} opposes beyond that null: the smallest excess is {pairs[0].excess:+.2f}.")


def _beyond_noise(result: Interference) -> Iterator[str]:
    """The pairs whose excess lies below 0 with its interval, or that none does."""
    ends = result.excess_interval
    pairs = surest(result)[:_PAIRS]
    if ends is None or not pairs:
        return
    told = [
        _words(pair, *ends[:, i, j])
        for (i, j), pair in zip(pairs, result.worst_pairs(_PAIRS), strict=True)
        if ends[1][i, j] < 0
    ]
    if told:
        yield f"{_claim(result)}, surest first: {'; '.join(told)}."
    elif not np.isnan(ends[1][pairs[0]]):
        nearest = _words(result.worst_pairs(1)[0], *ends[:, pairs[0][0], pairs[0][1]])
        yield f"No pair opposes beyond null and noise; nearest to it: {nearest}."
    else:
        yield "No pair is measured surely enough to say whether it opposes beyond the null."


def _claim(result: Interference) -> str:
    rare = rare_opposed(result)
    if all_opposed(result).sure or (rare is not None and rare.sure):
        return "Opposed beyond null and noise"
    return "Below the null with their 90 % interval, but none once corrected for the number of pairs"


def _hurt(result: Interference) -> Iterator[str]:
    """Which rare classes are hurt, by whom and where."""
    hurt = hurt_classes(result)
    if hurt is None:
        return
    rare = [short(result.class_names[c]) for c in rare_classes(result)]
    if not hurt:
        if rare:
            yield (
                f"Of the rare classes ({_list(rare)}), none loses half of its own descent to the others "
                f"({_POINT})."
            )
        return
    losses = "; ".join(_loss(result, h) for h in hurt[:_PAIRS])
    yield f"Under a plain step the others push back ({_POINT}): {losses}."
    place = where(result, hurt)
    if place is not None:
        yield f"This happens most in layer {place.name!r} (excess of these pairs there {place.excess:+.2f})."


def _loss(result: Interference, hurt: Hurt) -> str:
    name, by = result.class_names[hurt.label], [short(result.class_names[j]) for j in hurt.culprits]
    count = "" if result.train_counts is None else f" ({result.train_counts[hurt.label]} examples)"
    outcome = ", so that its loss rises" if hurt.taken > 1 else ""
    times = f"{hurt.taken:.2g}" if hurt.taken < 100 else "over 100"
    pull = f"{times} times as hard as {short(name)}{count} pulls for itself"
    return f"{pull}, mostly {_list(by)}{outcome}"


def _updated(result: Interference) -> Iterator[str]:
    """Which classes the given update climbs, and how far the measured change is from the predicted one."""
    effect = result.effect
    if effect is None:
        return
    names = zip(result.class_names, effect.alignment, strict=True)
    uphill = [short(name) for name, alignment in names if alignment < 0]
    climbs = f"{_list(uphill)} (alignment below 0)" if uphill else "no class"
    ratio = effect.ratio[np.isfinite(effect.ratio)]
    change = (
        f"; the measured change of loss is {ratio.min():.2f} to {ratio.max():.2f} times the predicted one"
        if len(ratio)
        else ""
    )
    yield f"The update {short(effect.label)!r} climbs {climbs}{change}."


def _sure(result: Interference) -> Iterator[str]:
    told = beyond_noise(result)
    if told is None:
        yield (
            "These figures carry no interval (folds=0): the gradient of a class with few examples is noisy, "
            "which draws its cosines towards 0."
        )
        return
    yield (
        f"Of {told.pairs} pairs, {told.opposed} oppose beyond null and noise (90 % intervals, so about "
        f"{told.by_chance:.0f} would by chance), {told.allied} agree beyond them, {told.within} lie within "
        f"them, and {told.unknown} are too noisy to say."
    )
    yield _corrected(result)
    weak = [short(result.class_names[c]) for c in told.unreliable]
    if weak:
        yield f"Too noisy to compare, for want of examples: {_list(weak)}."


def _corrected(result: Interference) -> str:
    every, rare = all_opposed(result), rare_opposed(result)
    said = f"Corrected for the number of pairs (Holm, p below 0.05), {every.sure} of {every.pairs} oppose"
    if rare is None:
        return f"{said}."
    return (
        f"{said}; of the {rare.pairs} that join a rare with a frequent class, corrected for these alone, "
        f"{rare.sure}, and on these advice rests (tailgrad.advise)."
    )


def _limits(result: Interference) -> Iterator[str]:
    blank = np.isnan(np.diagonal(result.conflict))
    if blank.any():
        names = [short(n) for n, is_blank in zip(result.class_names, blank, strict=True) if is_blank]
        yield f"Not measurable, for want of examples or of any gradient: {_list(names)}."
    yield from result.notes
    yield CAUTION


def _words(pair: Pair, low: float = np.nan, high: float = np.nan) -> str:
    sure = "" if np.isnan(low) else f", without noise {low:+.2f} to {high:+.2f}"
    return (
        f"{short(pair.first)} and {short(pair.second)} {pair.conflict:+.2f} "
        f"(null {pair.null:+.2f}, excess {pair.excess:+.2f}{sure})"
    )


def _list(names: list[str]) -> str:
    shown = names[:5]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(shown)}{more}"


def short(name: str) -> str:
    """A class name of at most 40 characters.

    Example:
        >>> short("x" * 50)[-5:]
        'xx...'
    """
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
