"""The end of a run whose images have several labels: thresholds, predictions, figures, label conflict."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.distributed import as_one_process
from tailgrad.engine import Fitted, infer, load_weights
from tailgrad.evaluate import thirds
from tailgrad.evaluate.label_thresholds import LabelThresholds, fit_label_thresholds
from tailgrad.evaluate.several_labels import LabelEvaluation, evaluate_labels
from tailgrad.files import finite, write_json
from tailgrad.interference.label_conflict import LabelConflict, measure_labels
from tailgrad.recipes.finish import BATCH, clear_what_is_past, result_of
from tailgrad.recipes.job import Job
from tailgrad.recipes.label_predictions import save_label_predictions
from tailgrad.recipes.run_folder import RunFolder


def finish_labels(job: Job, fitted: Fitted) -> dict[str, Any]:
    """Evaluate the best epoch on validation and test data, with thresholds fitted on validation data.

    Args:
        job: the run.
        fitted: how its training went.

    Raises:
        InputError: a file cannot be written.

    Example: see ``recipes.train``.
    """
    config, ready, folder = job.config, job.ready, job.folder
    job.learner.model.load_state_dict(load_weights(folder.weights)[0])
    logits = {part: infer(job.learner, ready.loader(part, BATCH)) for part in ("val", "test")}
    thresholds = fit_label_thresholds(*logits["val"][:2])
    save_label_predictions(folder.path / "predictions.parquet", ready, logits, thresholds)
    measured = _early(folder)
    if config.interference.enabled:
        for name, parts in {"train": ("train",), "heldout": ("val", "test")}.items():
            measured[name] = keep_label_conflict(job, name, parts)
    figures: dict[str, LabelEvaluation] = {
        part: evaluate_labels(found[0], found[1], ready.classes, thresholds, seed=config.seed)
        for part, found in logits.items()
    }
    result = result_of(config, ready, fitted, figures)
    result["parameters"] = sum(p.numel() for p in job.learner.model.parameters())
    result["focus"], result["stages"] = None, []
    result["thresholds"] = _thresholds(thresholds, ready.classes.names)
    result["label_gradients"] = {
        moment: _gradients(found, ready.classes.counts) for moment, found in measured.items() if found
    }
    result["prior"], result["advice"] = job.prior.to_dict(), []
    result["unreadable"] = ready.reading.passed_over.to_dict()
    if result["unreadable"]["count"]:
        job.say(f"warning: passed over in this run: {ready.reading.passed_over}")
    clear_what_is_past(folder, result["status"])
    write_json(folder.result_file, result)
    for log in job.live:
        log.on_result(folder.result())
    return folder.result()


def _thresholds(found: LabelThresholds, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """What decides on each label of a new image."""
    pairs = zip(names, found.values.tolist(), found.fitted, strict=True)
    return [{"label": name, "value": value, "fitted": fitted} for name, value, fitted in pairs]


def _early(folder: RunFolder) -> dict[str, LabelConflict | None]:
    """What was measured after the first epoch, if anything."""
    path = folder.path / "interference" / "early"
    return {"early": LabelConflict.load(path)} if path.with_suffix(".json").exists() else {}


def _gradients(found: LabelConflict, counts: Sequence[int]) -> dict[str, Any]:
    """In a few numbers what a measurement says."""
    tail = list(thirds(counts).get("tail", ()))
    means = {
        "positive_share": _mean(found.positive_share),
        "tail_positive_share": _mean(found.positive_share[tail]),
        "mean_excess": found.mean_excess,
    }
    known: dict[str, Any] = finite(means)
    return {"images": found.images, **known, "opposed": [list(pair) for pair in found.opposed()[:10]]}


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def keep_label_conflict(job: Job, name: str, parts: tuple[str, ...]) -> LabelConflict | None:
    """Measure label gradients and save them; what cannot be measured is said, and gives None.

    Example: see ``recipes.train``.
    """
    settings = job.config.interference
    with (
        as_one_process(),
        job.say.counting(f"measuring label gradients ({', '.join(parts)})") as progress,
    ):
        try:
            found = measure_labels(
                job.learner.network,
                _pairs(job, parts),
                parameters=settings.parameters,
                folds=settings.folds,
                max_images=settings.max_per_class * job.ready.classes.num_classes,
                label_names=job.ready.classes.names,
                progress=progress,
            )
        except InputError as error:
            job.say(f"label gradients ({name}) could not be measured: {error}")
            return None
    found.save(job.folder.path / "interference" / name)
    return found


def _pairs(job: Job, parts: tuple[str, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in job.ready.mixed(parts, BATCH):
        yield job.learner.images(batch.inputs), job.learner.fabric.to_device(batch.target)
