"""Whether the figures of a page can be trusted: seeds, splits, duplicates, regime, environment."""

from collections.abc import Mapping
from typing import Any

from tailgrad.evaluate import Evaluation
from tailgrad.report.blocks import Check
from tailgrad.report.findings import miscalibration
from tailgrad.report.folders import Fields, Run, Study
from tailgrad.report.wording import NOTHING, short

_PIECES = {
    "config": "config.yaml (the configuration)",
    "environment": "environment.json (versions and hardware)",
    "split": "split.json (which images were in which part)",
    "epochs": "metrics.jsonl (the course of training)",
    "interference": "interference/ (the measurements of conflict)",
}
_UNREADABLE = "{} (it is there and cannot be read)"
_FEW_TESTED = 30
_LONG, _EARLY = 6, 0.25
"""Epochs from which on it is strange that one of the first quarter was the best."""


def missing(run: Run) -> tuple[str, ...]:
    """What the folder of a run does not hold, or holds so that it cannot be read, one text each.

    Example: see ``write_report``.
    """
    absent = [words for piece, words in _PIECES.items() if not getattr(run, piece)]
    found = [words for words in absent if not words.startswith(run.unreadable)]
    if run.path is not None and not (run.path / "predictions.parquet").is_file():
        found.append("predictions.parquet (what was said of every test image)")
    return (*found, *map(_UNREADABLE.format, run.unreadable))


def missing_of_study(study: Study) -> tuple[str, ...]:
    """What the folder of the first run does not hold, and what of the study and any run cannot be read.

    Example: see ``write_report``.
    """
    _, *others = study.all_runs
    lost = [*study.unreadable, *(f"{run.name}/{name}" for run in others for name in run.unreadable)]
    return (*missing(study.first), *map(_UNREADABLE.format, lost))


def run_checks(run: Run) -> tuple[Check, ...]:
    """What a reader should know before believing the figures of one run.

    Example: see ``write_report``.
    """
    one = "One seed: nothing can be concluded about methods; another seed gives another figure."
    return (
        Check("Seeds", "one", "warn", one),
        _end(run),
        _split(run),
        _duplicates(run),
        _tested(run.test),
        _choice(run.result),
        _labels(run.result),
        _probabilities(run.test),
        *_made(run),
    )


def study_checks(study: Study) -> tuple[Check, ...]:
    """What a reader should know before believing a comparison.

    Example: see ``write_report``.
    """
    run = study.first
    return (
        _seeds(study),
        _failed(study),
        _shared(study),
        _duplicates(run),
        _tested(run.test),
        _choice(run.result),
        _labels(run.result),
        *_made(run),
    )


def _seeds(study: Study) -> Check:
    if study.seeds == 1:
        return Check("Seeds", "one", "warn", "With one seed nothing can be concluded about methods.")
    if study.units.count < 3:
        return Check("Seeds", study.units.words, "warn", "Below three, intervals are too wide to tell much.")
    paired = f"runs of the same {study.units.name}" if study.units.single else "the means of the same split"
    text = f"Differences pair {paired}; p values are corrected over the methods (Holm)."
    return Check("Seeds", study.units.words, "fine", text)


def _failed(study: Study) -> Check:
    if not study.unfinished:
        return Check("Runs", f"all {len(study.all_runs)} finished", "fine", "No run was left out.")
    told = "; ".join(
        f"{name}: {short(why, 160)}" if why else f"{name}: no reason recorded"
        for name, why in study.unfinished.items()
    )
    text = f"Compared is what is left: {len(study.all_runs)} runs. Left out: {told}."
    return Check("Runs", f"{len(study.unfinished)} not finished", "warn", text)


def _shared(study: Study) -> Check:
    by_split: dict[Any, set[str]] = {}
    for run in study.all_runs:
        by_split.setdefault(run.result.get("split_seed"), set()).add(str(run.split.get("sha256", "")))
    if any("" in hashes for hashes in by_split.values()):
        return Check("Splits", "not recorded", "missing", "Some runs hold no split.json.")
    if any(len(hashes) > 1 for hashes in by_split.values()):
        return Check(
            "Splits", "differ", "warn", "Runs of one split hold different images: do not compare them."
        )
    text = f"Methods share their images: {len(by_split)} split{'s'[: len(by_split) - 1]}, equal by SHA-256."
    return Check("Splits", "shared", "fine", text)


def _end(run: Run) -> Check:
    epochs = f"{run.result.get('epochs', NOTHING)} epochs, kept {run.result.get('best_epoch', NOTHING)}"
    last, kept = run.result.get("epochs"), run.result.get("best_epoch")
    if isinstance(last, int) and isinstance(kept, int) and last >= _LONG and kept < last * _EARLY:
        text = (
            f"Epoch {kept} of {last} was the best on the validation images, and what came later was thrown "
            "away: the learning rate may be too high, or too few images are behind the figure that chose it."
        )
        return Check("Training", "kept an early epoch", "warn", text)
    if run.result.get("status", "finished") == "finished":
        return Check("Training", "run to its end", "fine", f"{epochs}.")
    return Check("Training", "stopped early", "warn", f"{epochs}: not run to its end.")


def _split(run: Run) -> Check:
    if not run.split:
        return Check("Split", "not recorded", "missing", "split.json is missing.")
    how = str(run.split.get("method") or "drawn by seed")
    text = f"{how[:1].upper()}{how[1:]}; SHA-256 {str(run.split.get('sha256', ''))[:12]}."
    return Check("Split", "recorded", "fine", text)


def _duplicates(run: Run) -> Check:
    data, split = run.config.get("data", {}), run.split
    if not data or not split:
        return Check("Duplicates", "not recorded", "missing", "config.yaml or split.json is missing.")
    if data.get("group_duplicates") is False:
        text = "Copies of training images may be tested on (data.group_duplicates=false)."
        return Check("Duplicates", "may leak", "warn", text)
    leaks = len(split.get("leakage") or ())
    if leaks and not data.get("drop_leaks"):
        text = f"{leaks} pairs of copies lie across the parts that the source brings (data.drop_leaks=true)."
        return Check("Duplicates", "leak", "warn", text)
    near = (
        "exact and near copies"
        if data.get("near_duplicates", True)
        else "exact copies, near ones not looked for"
    )
    kept = split.get("groups_kept")
    text = f"Looked for {near}; {kept if kept is not None else 'all'} groups kept on one side of the split."
    return Check("Duplicates", "kept apart", "fine", text)


def _tested(test: Evaluation) -> Check:
    few = [row for row in test.classes if row.support < _FEW_TESTED]
    least = min(row.support for row in test.classes)
    if not few:
        return Check("Test images", f"at least {least} a class", "fine", f"{test.images} images in all.")
    text = (
        f"{len(few)} of {len(test.classes)} classes have fewer than {_FEW_TESTED} test images, the fewest "
        f"{least}: read their intervals, not their figures."
    )
    return Check("Test images", "few in some classes", "warn", text)


def _choice(result: Fields) -> Check:
    text = "Epoch, thresholds and posthoc methods were chosen on validation images, never on test images."
    brought = "The test set came with the data. " if result.get("own_test") else ""
    return Check("Choices", "on validation images", "fine", brought + text)


def _labels(result: Fields) -> Check:
    wrong = int(result.get("wrong_labels") or 0)
    lost = int((result.get("unreadable") or {}).get("count", 0))
    if not wrong and not lost:
        return Check("Images and labels", "as given", "fine", "None was left out or changed.")
    text = f"{wrong} training labels were replaced on purpose; {lost} images were unreadable and passed over."
    return Check("Images and labels", "not as given", "warn", text)


def _probabilities(test: Evaluation) -> Check:
    found = miscalibration(test)
    if found is None:
        return Check(
            "Stated probabilities", "not known", "missing", "The figures come from predictions alone."
        )
    text = found.figures[:1].upper() + found.figures[1:] + "."
    if found.p < 0.05:
        return Check("Stated probabilities", "not to be trusted", "warn", text)
    return Check("Stated probabilities", "no worse than chance", "fine", text)


def _made(run: Run) -> tuple[Check, Check]:
    regime = Check("Regime", str(run.result.get("regime", NOTHING)), "fine", _regime(run.config))
    if not run.environment:
        return regime, Check("Environment", "not recorded", "missing", "environment.json is missing.")
    names = ("tailgrad", "torch", "python", "system", "gpu")
    told = ", ".join(f"{name} {run.environment[name]}" for name in names if name in run.environment)
    return regime, Check("Environment", "recorded", "fine", f"{told}.")


def _regime(config: Mapping[str, Any]) -> str:
    if not config.get("train"):
        return (
            "The configuration is not recorded." if not config else "Details stand under How this was made."
        )
    train, optim = config["train"], config.get("optim", {})
    told = {
        "model": config.get("model", {}).get("name"),
        "optimiser": optim.get("name"),
        "rate": optim.get("lr"),
        "epochs": train.get("epochs"),
        "batch": train.get("batch_size"),
        "augmentation": ", ".join(train.get("augment") or ()) or "none",
    }
    words = ", ".join(f"{key} {value}" for key, value in told.items() if value is not None)
    return f"{words[:1].upper()}{words[1:]}. A regime moves results more than most methods."
