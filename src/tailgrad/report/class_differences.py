"""The blocks that compare methods class by class."""

from tailgrad.evaluate import Estimate, PairedDifference, paired_difference, student_t, units_of
from tailgrad.report.blocks import Block, Table, Text
from tailgrad.report.figures import Series, class_bars
from tailgrad.report.folders import Run, Study
from tailgrad.report.tables import folded_if_long
from tailgrad.report.wording import estimate, interval, number, signed

_CLASS_NOTE = (
    "Differences by class are not corrected for the number of classes: with twenty classes one of them is"
    " expected to stand out by chance alone."
)


def _by_class(runs: tuple[Run, ...], name: str) -> list[float]:
    return units_of(run.seed_and_split for run in runs).means([run.test.row(name).f1.value for run in runs])


def _class_mean(runs: tuple[Run, ...], name: str, ratio: float | None) -> Estimate:
    """Over seeds; with one seed the interval over test images stands in, and says so."""
    if len(runs) == 1:
        return runs[0].test.row(name).f1
    return _share(student_t(_by_class(runs, name), extra_variance=ratio or 0.0))


def _share(mean: Estimate) -> Estimate:
    """Cut to [0, 1], which a Student t interval knows nothing of."""
    if mean.low is None or mean.high is None:
        return mean
    return Estimate(mean.value, max(0.0, mean.low), min(1.0, mean.high), mean.how)


def class_difference_blocks(study: Study) -> tuple[Block, ...]:
    """F1 of every class under every method, and its paired difference to the first method.

    Args:
        study: the study.

    Example: see ``write_report``.
    """
    classes = study.first.classes
    series = [
        Series(method, tuple(_class_mean(runs, name, study.test_train_ratio) for name in classes.names))
        for method, runs in study.runs.items()
    ]
    what = f"over {study.units.name}s" if study.seeds > 1 else "over test images, one seed"
    note = Text(f"Intervals here are {what}. {_CLASS_NOTE}")
    return (class_bars(classes, series), note, folded_if_long(_class_table(study, series, what)))


def _class_table(study: Study, series: list[Series], what: str) -> Table:
    classes, (first, *others) = study.first.classes, study.runs
    header = ("class", "train", *(one.label for one in series), *(f"{name} minus {first}" for name in others))
    rows = []
    for k in sorted(range(classes.num_classes), key=lambda k: -classes.counts[k]):
        means = tuple(estimate(one.figures[k]) for one in series)
        changes = tuple(_change(study, name, first, classes.names[k]) for name in others)
        rows.append((classes.names[k], str(classes.counts[k]), *means, *changes))
    return Table(f"F1 of every class, 95 % intervals {what}", header, tuple(rows))


def _change(study: Study, method: str, first: str, name: str) -> str:
    pairs = {run.seed_and_split: run for run in study.runs[first]}
    matched = [(run, pairs.get(run.seed_and_split)) for run in study.runs[method]]
    paired = [(ours, theirs) for ours, theirs in matched if theirs is not None]
    if not paired:
        return number(None)
    ours, theirs = (_by_class(tuple(runs), name) for runs in zip(*paired, strict=True))
    found: PairedDifference = paired_difference(ours, theirs, test_train_ratio=study.test_train_ratio)
    ends = interval(found.low, found.high, sign=True)
    return signed(found.mean) if found.low is None else f"{signed(found.mean)} ({ends})"
