"""Conflict over the epochs, where a monitor watched the training."""

from collections.abc import Sequence

import numpy as np

from tailgrad.report.averages import Matrix, mean_over, pair_mean
from tailgrad.report.blocks import Block, Figure, Text
from tailgrad.report.figures import Curve, curves, heat_map
from tailgrad.report.folders import Fields, Run
from tailgrad.report.wording import signed

MEANING = (
    "Cosine between what two classes contribute to the gradient, mean over the batches of an epoch that the "
    "monitor looked at. It has no null of its own: look at how it changes, not at how low it is. Move the "
    "slider, or use the arrow keys on it."
)
CURVE = (
    "Mean over all pairs of classes of every epoch. Softmax alone draws it to about -1/(K-1); only its "
    "change over the epochs says something."
)
_MOST_FRAMES = 40


def over_training_blocks(run: Run) -> tuple[Block, ...]:
    """A map with a slider over the epochs, and the mean of every epoch; nothing where none was watched.

    Args:
        run: the run.

    Example: see ``write_report``.
    """
    by_epoch: dict[int, list[Fields]] = {}
    for epoch, record in run.records:
        by_epoch.setdefault(epoch, []).append(record)
    if not by_epoch:
        return ()
    names = run.classes.names
    maps = {epoch: _mean_map(records, names) for epoch, records in by_epoch.items()}
    known = {epoch: found for epoch, found in maps.items() if found is not None}
    drawn = (_slider(run, known),) if len(known) > 1 else ()
    words = (
        () if drawn else (Text("The monitor kept no matrices here: it does so up to 32 classes a batch."),)
    )
    return (*drawn, *words, _curve(by_epoch, known))


def _mean_map(records: Sequence[Fields], names: Sequence[str]) -> Matrix | None:
    """Mean of the records' matrices over all classes [K, K], NaN where two classes never met."""
    place = {name: k for k, name in enumerate(names)}
    found = []
    for record in records:
        at = [place[name] for name in record.get("count", ()) if name in place]
        cells = record.get("conflict")
        if cells is not None and len(cells) == len(at):
            whole = np.full((len(names), len(names)), np.nan)
            whole[np.ix_(at, at)] = np.array(cells, dtype=np.float64)
            found.append(whole)
    return mean_over(found) if found else None


def _slider(run: Run, maps: dict[int, Matrix]) -> Figure:
    epochs = list(maps)
    kept = [epochs[at] for at in np.unique(np.linspace(0, len(epochs) - 1, _MOST_FRAMES).astype(int))]
    last = maps[epochs[-1]]
    figures = [heat_map("", "", maps[epoch], run.classes, likeness=last) for epoch in kept]
    frames = [
        {"label": f"epoch {epoch}", "z": one.spec["data"][0]["z"], "alt": one.alt}
        for epoch, one in zip(kept, figures, strict=True)
    ]
    whole = heat_map("Conflict while training", MEANING, last, run.classes)
    whole.spec["layout"]["meta"] = whole.spec["layout"].get("meta", {}) | {"frames": frames}
    first, end = signed(pair_mean(maps[epochs[0]])), signed(pair_mean(last))
    change = f" Mean over pairs {first} in epoch {epochs[0]}, {end} in epoch {epochs[-1]}."
    return Figure(whole.title, MEANING, whole.alt + change, whole.spec)


def _curve(by_epoch: dict[int, list[Fields]], maps: dict[int, Matrix]) -> Figure:
    means = {
        epoch: pair_mean(maps[epoch])
        if epoch in maps
        else _mean([one.get("mean_conflict") for one in records])
        for epoch, records in by_epoch.items()
    }
    line = Curve("mean cosine", tuple(means), tuple(means.values()))
    return curves("Mean conflict while training", CURVE, "mean cosine over pairs", [line])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
