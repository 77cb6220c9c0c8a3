"""The blocks that show interference: never a cosine without its null and its excess."""

from collections.abc import Mapping, Sequence

import numpy as np

from tailgrad.evaluate import Units
from tailgrad.interference import Interference
from tailgrad.interference.tiles import TiledInterference
from tailgrad.report.averages import Matrix, OverRuns, mean_over, pair_mean
from tailgrad.report.blocks import Block, Figure, Folded, Grid, Table, Text
from tailgrad.report.certainty import Measured, certainty_blocks, classes_of, likeness_of, noise_table
from tailgrad.report.class_order import MOST_CELLS
from tailgrad.report.figures import LayerSeries, branch_shares, heat_map, layers
from tailgrad.report.folders import MOMENTS
from tailgrad.report.pairs import strongest_map, worst_pairs, worst_pairs_alone
from tailgrad.report.tables import matrix_table
from tailgrad.report.wording import signed
from tailgrad.types import ClassInfo

MOMENT_WORDS = {
    "heldout": "network kept, held-out images",
    "early": "after the first epoch",
    "train": "network kept, training images",
}
EXPLANATION = (
    "Each class pulls the shared weights in a direction of its own: the gradient of its loss. The cosine "
    "between two such directions is their conflict: +1 means that what helps one class helps the other, "
    "-1 that it harms it. Softmax and unequal class sizes alone already make classes oppose one another; "
    "the null is what they alone would give. Only the excess, conflict minus null, says something about "
    "these classes."
)
SHORT = (
    "Conflict is the cosine between two classes' gradients. Softmax and class sizes alone make it negative: "
    "that is the null. Only the excess, conflict minus null, says something about these classes."
)
CAUTION = (
    "Intervals within a run (90 %) hold the noise of few images, not that of another seed; intervals over "
    "seeds hold both. Of all pairs that do not interfere, about one in ten lies outside its interval by "
    "chance, and pairs picked as the worst look less bad when measured again. Conflict at the end of "
    "training on training images is never evidence by itself: look at held-out images and at early training."
)
NO_INTERVAL = (
    "These measurements carry no interval within a run, and the gradients of rare classes are noisy, which "
    "draws their cosines towards 0; measure again to get them."
)
_WORDS = {
    "conflict": "Cosine between the gradients of two classes; red pulls apart.",
    "null": "The cosine that softmax and class sizes alone would give.",
    "excess": "Conflict minus null: what is particular to these classes.",
}


def moments(measured: Mapping[str, Sequence[Mapping[str, Interference]]]) -> dict[str, Measured]:
    """Measurements by moment, then by label, from those by label and run.

    Example:
        >>> moments({"csba": [{}]})
        {}
    """
    found: dict[str, Measured] = {}
    for moment in MOMENTS:
        by_label = {label: [run[moment] for run in runs if moment in run] for label, runs in measured.items()}
        kept = {label: results for label, results in by_label.items() if results}
        if kept:
            found[moment] = kept
    return found


def conflict_blocks(
    measured: Mapping[str, Sequence[Mapping[str, Interference]]],
    units: Mapping[str, Units] | None = None,
    test_train_ratio: float | None = None,
) -> tuple[Block, ...]:
    """Everything about interference: the first moment open, the others folded.

    Args:
        measured: label (a method) -> one mapping a run, from moment to result.
        units: label -> which of its runs make one figure; None makes every run one.
        test_train_ratio: test images over training images where splits are drawn anew, else None.

    Example:
        >>> conflict_blocks({"csba": [{}]})
        ()
    """
    found = moments(measured)
    if not found:
        return ()
    (first, results), *others = found.items()
    over = OverRuns(units or {}, test_train_ratio or 0.0)
    opened = (Text(f"Shown here: {MOMENT_WORDS[first]}."), *_matrices(results, over, is_first=True))
    folded = tuple(
        Folded(f"The same, {MOMENT_WORDS[moment]}", _matrices(more, over)) for moment, more in others
    )
    sure = noise_table(found, MOMENT_WORDS)
    unsure = () if sure else (Text(NO_INTERVAL),)
    read = Folded("How to read conflict, null and excess", (Text(EXPLANATION), Text(CAUTION)))
    return (
        Text(SHORT),
        read,
        _summary(found, over),
        *sure,
        *unsure,
        *opened,
        *folded,
    )


def _matrices(results: Measured, over: OverRuns, *, is_first: bool = False) -> tuple[Block, ...]:
    whole = {
        label: [result for result in found if not isinstance(result, TiledInterference)]
        for label, found in results.items()
    }
    whole = {label: found for label, found in whole.items() if found}
    if not whole:  # above 2,000 classes no matrix is kept
        return (worst_pairs_alone(results),)
    return (*_maps(whole, over), *(certainty_blocks(whole) if is_first else ()), *_layers(whole))


def _summary(found: Mapping[str, Measured], over: OverRuns) -> Table:
    rows = []
    for moment, by_label in found.items():
        for label, results in by_label.items():
            means = [result.mean_excess for result in results]
            rows.append(
                (
                    label,
                    MOMENT_WORDS[moment],
                    signed(_average([result.mean for result in results])),
                    signed(_average([result.mean_null for result in results])),
                    signed(_average(means)),
                    over.interval(label, means),
                )
            )
    header = ("method", "measured", "conflict", "null", "excess", f"excess, 95 % over {over.what}")
    return Table("Mean over all pairs of classes", header, tuple(rows))


def _average(values: Sequence[float]) -> float:
    return float(mean_over([np.array(value) for value in values]))


def _maps(results: Measured, over: OverRuns) -> tuple[Block, ...]:
    like = likeness_of(results)
    maps = {
        quantity: tuple(
            heat_map(
                f"{quantity.capitalize()}: {label}",
                words,
                _matrix(found, quantity),
                classes_of(found),
                likeness=like,
            )
            for label, found in results.items()
        )
        for quantity, words in _WORDS.items()
    }
    one = tuple(figure for figures in maps.values() for figure in figures)
    rows: tuple[Block, ...] = (Grid(one),)
    if len(results) > 1:  # the excess is what counts; what it is made of stands behind a click
        made_of = tuple(Grid(maps[quantity]) for quantity in ("conflict", "null"))
        rows = (Grid(maps["excess"]), Folded("Conflict and null of every method", made_of))
    tables = tuple(
        matrix_table(f"{quantity.capitalize()}, {label}", _matrix(found, quantity), classes_of(found), 2)
        for label, found in results.items()
        for quantity in _WORDS
        if len(classes_of(found).names) <= MOST_CELLS
    )
    folded = (Folded("These matrices as tables", tables),) if tables else ()
    return (*rows, *_strongest(results), worst_pairs(results, over), *folded)


def _strongest(results: Measured) -> tuple[Block, ...]:
    """Where cells are means over several classes, the classes of the strongest pairs one by one."""
    figures = tuple(
        strongest_map(label, _matrix(found, "excess"), classes_of(found))
        for label, found in results.items()
        if classes_of(found).num_classes > MOST_CELLS
    )
    return (Grid(figures),) if figures else ()


def _matrix(found: Sequence[Interference], quantity: str) -> Matrix:
    return mean_over([getattr(result, quantity) for result in found])


def _layers(results: Measured) -> tuple[Block, ...]:
    series = [
        LayerSeries(
            label,
            {name: _layer_mean(found, "layers", name) for name in found[0].layers},
            {name: _layer_mean(found, "layer_excess", name) for name in found[0].layers},
        )
        for label, found in results.items()
    ]
    if not any(one.conflict for one in series):
        return ()
    return (layers(series), Folded("Conflict by layer: table", (_layer_table(series),)))


def _layer_table(series: Sequence[LayerSeries]) -> Table:
    names = dict.fromkeys(name for one in series for name in one.conflict)
    header = ("layer", *(f"{one.label}, {word}" for one in series for word in ("conflict", "excess")))
    nan = float("nan")
    rows = tuple(
        (name, *(signed(v.get(name, nan)) for one in series for v in (one.conflict, one.excess)))
        for name in names
    )
    return Table("Mean over pairs of classes by layer; conflict minus excess is the null", header, rows)


def _layer_mean(found: Sequence[Interference], quantity: str, layer: str) -> float:
    return _average([pair_mean(getattr(result, quantity)[layer]) for result in found])


def branch_blocks(measured: Mapping[str, Sequence[Mapping[str, Interference]]]) -> tuple[Block, ...]:
    """Shares of the branches at the first moment measured, one figure a label that has branches.

    Example:
        >>> branch_blocks({"csba": [{}]})
        ()
    """
    blocks: list[Block] = []
    for moment, by_label in list(moments(measured).items())[:1]:
        for label, found in by_label.items():
            shares = [result.branches.shares for result in found if result.branches is not None]
            if shares:
                title = f"{label}, {MOMENT_WORDS[moment]}"
                blocks += _branch(title, mean_over(shares), classes_of(found))
    return tuple(blocks)


def _branch(title: str, shares: Matrix, classes: ClassInfo) -> list[Block]:
    figure: Figure = branch_shares(title, shares, classes)
    rows = tuple(
        (name, *(f"{share:.3f}" for share in column))
        for name, column in zip(classes.names, shares.T.tolist(), strict=True)
    )
    header = ("class", *(f"branch {b + 1}" for b in range(len(shares))))
    caption = f"Share of each branch in a class's gradient (without any preference: {1 / len(shares):.3f})"
    return [figure, Folded(f"Branch shares, {title}: table", (Table(caption, header, rows),))]
