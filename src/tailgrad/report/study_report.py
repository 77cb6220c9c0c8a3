"""The page of a study: several methods over seeds."""

from collections.abc import Mapping
from typing import Any

from tailgrad.evaluate import ONE_SEED, Estimate, PairedDifference, paired_difference, student_t
from tailgrad.report.blocks import Block, Card, Folded, Page, Section, Table, Text
from tailgrad.report.conflict import branch_blocks, conflict_blocks
from tailgrad.report.figures import Series, class_bars, curves, seed_dots
from tailgrad.report.folders import Run, Study
from tailgrad.report.run_report import SCORE_MEANING, confusion_blocks, curve, made_blocks
from tailgrad.report.tables import key_table
from tailgrad.report.wording import duration, estimate, interval, metric_name, number, p_value, short, signed

_PAIRED_NOTE = (
    "A difference pairs runs of the same seed: method minus first method. Its interval and p value come "
    "from the spread of these differences over seeds; where every seed draws its own split, the interval "
    "is widened for the overlap of the training sets. p (Holm) is corrected for the number of methods. "
    "The verdict is 'better' or 'worse' only where the corrected p is below 0.05."
)
_CLASS_NOTE = (
    "Differences by class are not corrected for the number of classes: with twenty classes one of them is"
    " expected to stand out by chance alone."
)
_ONE_SEED = (
    f"With one seed {ONE_SEED.removesuffix(' from one seed')}: another seed, another order. The figures "
    "below describe these runs, not the methods."
)


def study_page(study: Study) -> Page:
    """Everything about a study.

    Args:
        study: the study.

    Example: see ``write_report``.
    """
    measured = {method: [run.interference for run in runs] for method, runs in study.runs.items()}
    sections = (
        Section("Methods compared", _comparison_blocks(study)),
        Section("Every class", _class_blocks(study)),
        Section("Where the errors go", confusion_blocks(study.runs)),
        Section("Which classes oppose one another", conflict_blocks(measured)),
        Section("Branches", branch_blocks(measured)),
        Section("Training", _training_blocks(study)),
        Section("How this was made", _made_blocks(study)),
    )
    conclusion = str(
        study.comparison.get("conclusion") or "The study is not finished: there is no conclusion yet."
    )
    return Page(_title(study), _facts(study), _cards(study), conclusion, sections)


def _title(study: Study) -> str:
    methods = list(study.runs)
    names = ", ".join(methods) if len(methods) <= 4 else f"{len(methods)} methods"
    return f"{names} on {short(str(study.first.result['data']), 60)}"


def _seeds(study: Study) -> int:
    return min(len(runs) for runs in study.runs.values())


def _facts(study: Study) -> tuple[str, ...]:
    first, seeds = study.first, _seeds(study)
    differences = study.settings.get("differences")
    return (
        f"data {short(str(first.result['data']), 40)}",
        f"regime {first.result['regime']}",
        f"{seeds} seed{'s' if seeds > 1 else ''}",
        f"{first.classes.num_classes} classes",
        f"{sum(first.classes.counts)} training images",
        f"{first.test.images} test images",
        "test set of its own" if study.settings.get("own_test") else "every seed draws its own split",
        *((f"methods differ in: {', '.join(map(str, differences))}",) if differences else ()),
        *((f"{len(study.unfinished)} runs not finished",) if study.unfinished else ()),
    )


def _rows(study: Study, key: str, metric: str | None) -> list[Mapping[str, Any]]:
    rows = study.comparison.get(key, ())
    return [
        row for row in rows if metric is None or row.get("metric", study.comparison.get("metric")) == metric
    ]


def _metric(study: Study) -> str:
    return str(study.comparison.get("metric", "macro_f1"))


def _metrics(study: Study) -> list[str]:
    found = (str(row.get("metric", _metric(study))) for row in study.comparison.get("rows", ()))
    return list(dict.fromkeys([_metric(study), *found]))


def _cards(study: Study) -> tuple[Card, ...]:
    metric = _metric(study)
    cards = []
    for row in _rows(study, "rows", metric):
        ends = interval(row["low"], row["high"])
        note = f"95 % over {row['n']} seeds: {ends}" if row["low"] is not None else "one seed: no interval"
        cards.append(Card(f"{metric_name(metric)}, {row['method']}", number(row["mean"]), note))
    for row in _rows(study, "paired", metric):
        ends = f"95 %: {interval(row['low'], row['high'], sign=True)}; " if row["low"] is not None else ""
        label = f"{row['method']} minus {row['against']}"
        cards.append(Card(label, signed(row["mean"]), f"{ends}{row['verdict']}"))
    return tuple(cards)


def _comparison_blocks(study: Study) -> tuple[Block, ...]:
    metric = _metric(study)
    rows = [dict(row) for row in _rows(study, "rows", metric)]
    notes = (Text(_ONE_SEED, strong=True),) if _seeds(study) == 1 else ()
    others = tuple(_method_table(study, other) for other in _metrics(study)[1:])
    return (
        *notes,
        *((seed_dots(metric_name(metric), rows), _method_table(study, metric)) if rows else ()),
        Text(_PAIRED_NOTE),
        *((Folded("Other figures", others),) if others else ()),
        *_mcnemar(study),
    )


def _method_table(study: Study, metric: str) -> Table:
    paired = {row["method"]: row for row in _rows(study, "paired", metric)}
    header = (
        "method",
        "mean",
        "95 % over seeds",
        "each seed",
        "difference",
        "95 %",
        "p",
        "p (Holm)",
        "verdict",
    )
    rows = tuple(
        (
            str(row["method"]),
            number(row["mean"]),
            interval(row["low"], row["high"]),
            "  ".join(number(value) for value in row["per_seed"]),
            *_difference(paired.get(row["method"])),
        )
        for row in _rows(study, "rows", metric)
    )
    return Table(f"{metric_name(metric)} on test images, differences to the first method", header, rows)


def _difference(row: Mapping[str, Any] | None) -> tuple[str, ...]:
    if row is None:
        return ("", "", "", "", "compared with")
    ends = interval(row["low"], row["high"], sign=True)
    return (signed(row["mean"]), ends, p_value(row["p"]), p_value(row.get("p_holm")), str(row["verdict"]))


def _mcnemar(study: Study) -> tuple[Block, ...]:
    found = study.comparison.get("mcnemar_seed0")
    if not found:
        return ()
    rows = tuple(
        (
            str(row["method"]),
            str(row["against"]),
            *(str(n) for n in row["images"].values()),
            p_value(row["p"]),
        )
        for row in found
    )
    header = ("method", "against", "only this right", "only the other right", "p")
    caption = "Exact McNemar test on the test images of the first seed: these two networks, not the methods"
    return (Folded("One pair of runs, image by image", (Table(caption, header, rows),)),)


def _by_class(runs: tuple[Run, ...], name: str) -> list[float]:
    return [run.test.row(name).f1.value for run in runs]


def _class_mean(runs: tuple[Run, ...], name: str) -> Estimate:
    """Over seeds; with one seed the interval over test images stands in, and says so."""
    return student_t(_by_class(runs, name)) if len(runs) > 1 else runs[0].test.row(name).f1


def _class_blocks(study: Study) -> tuple[Block, ...]:
    classes = study.first.classes
    series = [
        Series(method, tuple(_class_mean(runs, name) for name in classes.names))
        for method, runs in study.runs.items()
    ]
    what = "over seeds" if _seeds(study) > 1 else "over test images, one seed"
    note = Text(f"Intervals here are {what}. {_CLASS_NOTE}")
    return (class_bars(classes, series), note, _class_table(study, series, what))


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
    pairs = {run.result["seed"]: run for run in study.runs[first]}
    paired = [(run, pairs[run.result["seed"]]) for run in study.runs[method] if run.result["seed"] in pairs]
    if not paired:
        return number(None)
    ours, theirs = (_by_class(tuple(runs), name) for runs in zip(*paired, strict=True))
    found: PairedDifference = paired_difference(ours, theirs, test_train_ratio=study.test_train_ratio)
    ends = interval(found.low, found.high, sign=True)
    return signed(found.mean) if found.low is None else f"{signed(found.mean)} ({ends})"


def _training_blocks(study: Study) -> tuple[Block, ...]:
    runs = [run for run in study.all_runs if run.epochs]
    if not runs:
        return ()
    lines = [curve(run, "val_macro_f1", run.method, run.result.get("best_epoch")) for run in runs]
    losses = [curve(run, "train_loss", run.method, run.result.get("best_epoch")) for run in runs]
    meaning = "One line a run, on the images it was trained on; different losses are not on one scale."
    return (
        curves("Validation macro-F1", SCORE_MEANING, "validation macro-F1", lines),
        Folded("Training loss", (curves("Training loss", meaning, "training loss", losses),)),
    )


def _made_blocks(study: Study) -> tuple[Block, ...]:
    header = ("run", "method", "seed", "epochs", "kept", "time", "split, SHA-256")
    rows = tuple(
        (
            run.name,
            run.method,
            str(run.result["seed"]),
            str(run.result.get("epochs")),
            str(run.result.get("best_epoch")),
            duration(run.result.get("seconds") or 0.0),
            str(run.split.get("sha256", "not recorded")),
        )
        for run in study.all_runs
    )
    unfinished = Text(f"Not finished, left out: {', '.join(study.unfinished)}.", strong=True)
    return (
        *((unfinished,) if study.unfinished else ()),
        Table("Runs", header, rows),
        key_table("Study", {key: value for key, value in study.settings.items() if key != "environment"}),
        *(
            Folded(f"Configuration of {method}, first seed", made_blocks(runs[0])[:2])
            for method, runs in study.runs.items()
        ),
        *made_blocks(study.first)[2:],
    )
