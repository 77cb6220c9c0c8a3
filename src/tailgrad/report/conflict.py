"""The blocks that show interference: never a cosine without its null and its excess."""

from collections.abc import Mapping, Sequence

import numpy as np

from tailgrad.evaluate import student_t
from tailgrad.interference import Interference
from tailgrad.report.averages import Matrix, mean_over, pair_mean
from tailgrad.report.blocks import Block, Figure, Folded, Grid, Table, Text
from tailgrad.report.figures import LayerSeries, branch_shares, heat_map, layers
from tailgrad.report.folders import MOMENTS
from tailgrad.report.tables import matrix_table
from tailgrad.report.wording import interval, signed
from tailgrad.types import ClassInfo

MOMENT_WORDS = {
    "heldout": "end of training, held-out images",
    "early": "early in training",
    "train": "end of training, training images",
}
EXPLANATION = (
    "Each class pulls the shared weights in a direction of its own: the gradient of its loss. The cosine "
    "between two such directions is their conflict: +1 means that what helps one class helps the other, "
    "-1 that it harms it. Softmax and unequal class sizes alone already make classes oppose one another; "
    "the null is what they alone would give. Only the excess, conflict minus null, says something about "
    "these classes."
)
CAUTION = (
    "These cosines carry no interval within a run, and the gradients of rare classes are noisy. Conflict "
    "at the end of training on training images is never evidence by itself: look at held-out images and "
    "at early training."
)
_WORDS = {
    "conflict": "Cosine between the gradients of two classes; red pulls apart.",
    "null": "The cosine that softmax and class sizes alone would give.",
    "excess": "Conflict minus null: what is particular to these classes.",
}
_MOST_ROWS = 60
Measured = Mapping[str, Sequence[Interference]]


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


def conflict_blocks(measured: Mapping[str, Sequence[Mapping[str, Interference]]]) -> tuple[Block, ...]:
    """Everything about interference: the first moment open, the others folded.

    Args:
        measured: label (a method) -> one mapping a run, from moment to result.

    Example:
        >>> conflict_blocks({"csba": [{}]})
        ()
    """
    found = moments(measured)
    if not found:
        return ()
    (first, results), *others = found.items()
    opened = (Text(f"Shown here: {MOMENT_WORDS[first]}."), *_maps(results), *_layers(results))
    folded = tuple(
        Folded(f"The same, {MOMENT_WORDS[moment]}", (*_maps(more), *_layers(more))) for moment, more in others
    )
    return (Text(EXPLANATION), _summary(found), *opened, *folded, Text(CAUTION))


def _summary(found: Mapping[str, Measured]) -> Table:
    rows = []
    for moment, by_label in found.items():
        for label, results in by_label.items():
            means = [result.mean_excess for result in results]
            known = [mean for mean in means if np.isfinite(mean)]
            seeds = student_t(known) if known else None
            rows.append(
                (
                    label,
                    MOMENT_WORDS[moment],
                    signed(_average([result.mean for result in results])),
                    signed(_average([pair_mean(result.null) for result in results])),
                    signed(_average(means)),
                    interval(seeds.low, seeds.high, sign=True) if seeds else interval(None, None),
                )
            )
    header = ("method", "measured", "conflict", "null", "excess", "excess, 95 % over seeds")
    return Table("Mean over all pairs of classes", header, tuple(rows))


def _average(values: Sequence[float]) -> float:
    return float(mean_over([np.array(value) for value in values]))


def _maps(results: Measured) -> tuple[Block, ...]:
    maps = {
        quantity: tuple(
            heat_map(f"{quantity.capitalize()}: {label}", words, _matrix(found, quantity), _classes(found))
            for label, found in results.items()
        )
        for quantity, words in _WORDS.items()
    }
    one = tuple(figure for figures in maps.values() for figure in figures)
    rows = (Grid(one),) if len(results) == 1 else tuple(Grid(figures) for figures in maps.values())
    tables = tuple(
        matrix_table(f"{quantity.capitalize()}, {label}", _matrix(found, quantity), _classes(found), 2)
        for label, found in results.items()
        for quantity in _WORDS
        if len(_classes(found).names) <= _MOST_ROWS
    )
    folded = (Folded("These matrices as tables", tables),) if tables else ()
    return (*rows, _worst(results), *folded)


def _matrix(found: Sequence[Interference], quantity: str) -> Matrix:
    return mean_over([getattr(result, quantity) for result in found])


def _classes(found: Sequence[Interference]) -> ClassInfo:
    return ClassInfo(found[0].class_names, tuple(int(n) for n in found[0].counts))


def _worst(results: Measured) -> Table:
    rows = []
    for label, found in results.items():
        conflict, null, excess = (_matrix(found, quantity) for quantity in _WORDS)
        a, b = np.triu_indices(len(excess), 1)
        order = [p for p in np.argsort(excess[a, b], kind="stable") if not np.isnan(excess[a[p], b[p]])][:6]
        names = found[0].class_names
        for i, j in zip(a[order], b[order], strict=True):
            figures = tuple(signed(float(matrix[i, j])) for matrix in (conflict, null, excess))
            rows.append((f"{names[i]} / {names[j]}", label, *figures))
    caption = "The six pairs with the lowest excess, chosen for each method on its own measurement"
    return Table(caption, ("pair", "method", "conflict", "null", "excess"), tuple(rows))


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
                blocks += _branch(title, mean_over(shares), _classes(found))
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
