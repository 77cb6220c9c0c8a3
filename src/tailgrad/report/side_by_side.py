"""Two runs of a study side by side: what the page's script draws from once the reader has picked them."""

from collections.abc import Sequence
from typing import Any

from tailgrad.report.blocks import Block, Picker, Text
from tailgrad.report.class_order import MOST_CELLS, by_count
from tailgrad.report.figures import heat_map
from tailgrad.report.figures.style import plain
from tailgrad.report.folders import Run, Study
from tailgrad.report.wording import estimate, plot_label

_MOST_VALUES = 400_000  # numbers of matrices and classes that a page carries for this: 2 MB
_NOTE = (
    "Two runs differ by chance too: another seed of the same method gives other figures. What holds for the "
    "methods is in the tables above."
)


def side_by_side_blocks(study: Study) -> tuple[Block, ...]:
    """A choice of two runs; nothing where there is one run only.

    Args:
        study: the study.

    Example: see ``write_report``.
    """
    runs = study.all_runs
    size = study.first.classes.num_classes
    if len(runs) < 2 or len(runs) * size > _MOST_VALUES:
        return ()
    maps = size <= MOST_CELLS and len(runs) * size * size <= _MOST_VALUES
    order = by_count(study.first.classes).tolist()
    classes = study.first.classes
    content: dict[str, Any] = {
        "classes": [classes.names[k] for k in order],
        "labels": [plot_label(classes.names[k], 20) for k in order],
        "counts": [classes.counts[k] for k in order],
        "runs": [_run(run, order, maps) for run in runs],
        "second": _other(runs),
    }
    return (Picker("Two runs side by side", tuple(map(_label, runs)), content), Text(_NOTE))


def _label(run: Run) -> str:
    split = run.result.get("split_seed")
    return f"{run.method}, seed {run.result['seed']}" + ("" if split is None else f", split {split}")


def _other(runs: Sequence[Run]) -> int:
    """The first run of another method, which the page begins with beside the first."""
    return next((at for at, run in enumerate(runs) if run.method != runs[0].method), 1)


def _run(run: Run, order: list[int], maps: bool) -> dict[str, Any]:
    test = run.test
    figures = {
        "macro-F1": test.macro_f1,
        "balanced accuracy": test.balanced_accuracy,
        "accuracy": test.accuracy,
        "F1 of its worst class": test.row(test.worst_class).f1,
    }
    heldout = run.interference.get("heldout") if maps else None
    return {
        "label": plot_label(_label(run), 60),
        "figures": [[name, estimate(one), round(one.value, 4)] for name, one in figures.items()],
        "f1": plain((test.classes[k].f1.value for k in order), 3),
        "excess": None
        if heldout is None
        else heat_map("", "", heldout.excess, run.classes).spec["data"][0]["z"],
    }
