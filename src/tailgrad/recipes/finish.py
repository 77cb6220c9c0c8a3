"""The end of a run: predictions, figures with intervals, interference, the report."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.distributed import as_one_process
from tailgrad.engine import Fitted, infer, load_weights
from tailgrad.engine.checkpoint import previous
from tailgrad.evaluate import Evaluation, apply_threshold, evaluate, evaluate_predictions, tune_threshold
from tailgrad.files import write_json
from tailgrad.interference import Extras, Interference, measure
from tailgrad.posthoc import Chain, ClassThresholds
from tailgrad.recipes.advise_run import advise_on, as_fields
from tailgrad.recipes.after_training import fit_chain, make_chain
from tailgrad.recipes.assemble import class_weights_of
from tailgrad.recipes.config import Config
from tailgrad.recipes.hurried import BESIDES, TRIED, ClassesInTurn, images_within, seconds_per_image
from tailgrad.recipes.job import Job
from tailgrad.recipes.predictions import save_predictions
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.prior import correction_of
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.task import task_of
from tailgrad.recipes.waiting import Told, each
from tailgrad.types import ClassInfo

BATCH = 256
# Probabilities held at once: 32 MB.
_CELLS = 2**22


def measure_part(job: Job, parts: tuple[str, ...], minutes: float | None = None) -> Interference:
    """Interference of the current model on parts of the data.

    Args:
        job: the run.
        parts: of its data.
        minutes: about the most it may take; None takes ``interference.max_per_class`` of each class.

    Example: see ``recipes.train``.
    """
    most = None if minutes is None else _affordable(job, parts, minutes)
    with (
        as_one_process(),  # each rank measures all
        job.say.counting(f"measuring class gradients ({', '.join(parts)})") as progress,
    ):
        found = measure(
            job.learner.network,
            _pairs(job, parts, progress, most),
            parameters=job.config.interference.parameters,
            max_per_class=job.config.interference.max_per_class,
            folds=job.config.interference.folds,
            class_names=job.ready.classes.names,
            extras=Extras(
                null_examples=None if most is None else BESIDES,
                train_counts=job.ready.classes.counts,
                class_weights=class_weights_of(job.learner.loss),
            ),
        )
    if most is not None:
        known = sum(len(job.ready.index(part)) for part in parts)
        job.say(f"class gradients of {int(found.counts.sum())} of {known} images, for want of time")
    return found


def keep_interference(job: Job, name: str, parts: tuple[str, ...]) -> Interference | None:
    """Measure and save; what cannot be measured is said, does not end the run, and gives None.

    Example: see ``recipes.train``.
    """
    try:
        found = measure_part(job, parts, job.config.interference.minutes)
    except InputError as error:
        job.say(f"interference ({name}) could not be measured: {error}")
        return None
    found.save(job.folder.path / "interference" / name)
    for log in job.live:
        log.on_interference(name, found)
    return found


def _pairs(job: Job, parts: tuple[str, ...], told: Told, most: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    loader = job.ready.mixed(parts, BATCH)
    if most is not None:
        loader = loader.ordered(ClassesInTurn(loader.target, most))
    for batch in each(loader, told):
        yield job.learner.images(batch.inputs), job.learner.fabric.to_device(batch.target)


def _affordable(job: Job, parts: tuple[str, ...], minutes: float) -> int | None:
    """How many images a measurement may take; None where the time is enough for all that are wanted."""
    some = job.ready.mixed(parts, TRIED)
    images = job.learner.images(next(iter(some)).inputs)
    rate = seconds_per_image(job.learner.network, images)
    most = images_within(minutes, rate, job.ready.classes.num_classes)
    wanted = torch.bincount(some.target).clamp(max=job.config.interference.max_per_class).sum()
    return None if most >= int(wanted) else most


class EarlyConflict:
    """An observer that measures interference once, after the first epoch.

    Args:
        job: the run; its folder gets ``interference/early``.

    Example: see ``recipes.train``.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def on_step(self, record: Any) -> None:
        """Nothing is measured within an epoch."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """Measure on training images after epoch 1."""
        if row["epoch"] == 1 and self.job.config.interference.enabled:
            task_of(self.job.ready.source).keep_conflict(self.job, "early", ("train",))


def finish(job: Job, fitted: Fitted, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """Evaluate the best epoch on validation and test data and write everything a report reads.

    Posthoc methods are fitted on validation logits and then change both parts' logits; so is the figure with
    tuned thresholds, which every method has.

    Args:
        job: the run.
        fitted: how its first training went.
        stages: what further stages tell of themselves.

    Raises:
        InputError: a file cannot be written.

    Example: see ``recipes.train``.
    """
    config, ready, folder = job.config, job.ready, job.folder
    job.learner.model.load_state_dict(load_weights(folder.weights)[0])
    logits = {part: infer(job.learner, ready.loader(part, BATCH)) for part in ("val", "test")}
    chain = make_chain(config, ready.classes.counts)
    if len(chain.steps):
        fit_chain(chain, logits["val"][0], logits["val"][1], folder.weights.parent)
        # A copy for each part: a streaming method begins with what it was fitted to, here and in prediction.
        logits = {
            part: (copy.deepcopy(chain).transform(z), y, index) for part, (z, y, index) in logits.items()
        }
    save_predictions(folder.path / "predictions.parquet", ready, logits)
    measured: dict[str, Interference | None] = {"train": None, "heldout": None}
    if config.interference.enabled:
        for name, parts in {"train": ("train",), "heldout": ("val", "test")}.items():
            measured[name] = keep_interference(job, name, parts)
    figures = {
        part: evaluate(found[0].numpy(), found[1].numpy(), ready.classes, seed=config.seed)
        for part, found in logits.items()
    }
    result = result_of(config, ready, fitted, figures)
    result["parameters"] = sum(p.numel() for p in job.learner.model.parameters())
    result["focus"] = focus_of(config, ready, logits)
    result["tuned"] = with_tuned_thresholds(logits, ready.classes)
    result["stages"] = stages
    result["prior"] = _prior_left(job, chain).to_dict()
    result["advice"] = as_fields(advise_on(measured["heldout"], figures["test"], measured["train"]))
    result["unreadable"] = ready.reading.passed_over.to_dict()
    if result["unreadable"]["count"]:
        job.say(f"warning: passed over in this run: {ready.reading.passed_over}")
    clear_what_is_past(folder, result["status"])
    write_json(folder.result_file, result)
    for log in job.live:
        log.on_result(folder.result())
    return folder.result()


def clear_what_is_past(folder: RunFolder, status: str) -> None:
    """Remove what a sitting before left: its report, and state that a finished run goes on from no more.

    Example: see ``recipes.train``.
    """
    # A report of an earlier sitting would stay as it is where this one is killed before it writes its own.
    (folder.path / "report.html").unlink(missing_ok=True)
    if status == "finished":
        for last in (folder.path / "checkpoint").rglob("last.safetensors"):
            previous(last).unlink(missing_ok=True)


def result_of(
    config: Config, prepared: Prepared, fitted: Fitted, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """What the result of every run holds, whatever its task: where it stands, and the figures of each part.

    Args:
        config: of the run.
        prepared: its data.
        fitted: how training went.
        figures: an evaluation of each part.

    Example: see ``recipes.train``.
    """
    return {
        "data": prepared.source.name,
        "regime": config.regime,
        "method": config.method,
        "seed": config.seed,
        "split_seed": prepared.split.seed,
        "own_test": prepared.own_test,
        "status": "finished" if fitted.stopped in {"epochs", "patience"} else "stopped",
        "stopped_by": fitted.stopped,
        "epochs": fitted.epoch,
        "best_epoch": fitted.best_epoch,
        "seconds": round(fitted.seconds, 2),
        "train_images": len(prepared.split.train),
        "wrong_labels": prepared.wrong_labels,
        "classes": {"names": list(prepared.classes.names), "counts": list(prepared.classes.counts)},
        **{part: evaluation.to_dict() for part, evaluation in figures.items()},
    }


def _prior_left(job: Job, chain: Chain) -> Ledger:
    """The ledger again, with what training made of the loss's state and fitting of posthoc methods.

    Neither is a reason to stop any more.
    """
    names = [f"posthoc {one.name}" for one in job.config.posthoc]
    fitted = dict(zip(names, map(correction_of, chain.steps), strict=True))
    if not job.stage_losses:
        fitted[f"loss {job.config.loss.name}"] = correction_of(job.learner.loss)
    entries = [(name, fitted.get(name, entry)) for name, entry in job.prior.entries.items()]
    counts, classes = job.prior.class_counts, job.prior.class_names
    return ledger(entries, counts, class_names=classes, allow_double_correction=True)


def with_tuned_thresholds(
    logits: dict[str, tuple[Tensor, Tensor, Tensor]], classes: ClassInfo
) -> dict[str, Any]:
    """Test figures with one threshold a class, tuned on validation data.

    For macro-F1; for mean recall where the test images are even over the classes, as those of benchmarks are
    by design, and the validation images are not: macro-F1 at the mix of a long tail asks for other thresholds
    than at an even one, and mean recall for the same.

    Args:
        logits: logits, classes and positions of ``"val"`` and ``"test"``.
        classes: names and training counts.

    Example:
        >>> import torch
        >>> part = torch.eye(2).repeat(9, 1), torch.arange(18) % 2, torch.arange(18)
        >>> with_tuned_thresholds({"val": part, "test": part}, ClassInfo(("a", "b"), (9, 9)))["macro_f1"]
        1.0
    """
    mixes = [torch.bincount(logits[part][1], minlength=classes.num_classes) for part in ("test", "val")]
    test_is_even, val_is_even = (bool(mix.min() == mix.max()) for mix in mixes)
    criterion = "balanced_accuracy" if test_is_even and not val_is_even else "macro_f1"
    thresholds = ClassThresholds(list(classes.counts), criterion=criterion)
    thresholds.fit(logits["val"][0], logits["val"][1])
    shifted = thresholds.transform(logits["test"][0])
    target = logits["test"][1].numpy()
    found = evaluate_predictions(shifted.argmax(1).numpy(), target, classes, resamples=0)
    names = ("macro_f1", "balanced_accuracy", "accuracy")
    figures: dict[str, Any] = {name: float(getattr(found, name).value) for name in names}
    return figures | {"worst_f1": float(found.row(found.worst_class).f1.value)}


def focus_of(
    config: Config, prepared: Prepared, logits: Mapping[str, tuple[Tensor, Tensor, Tensor]]
) -> dict[str, Any] | None:
    """Figures of the class in focus at the threshold that validation data choose; None without one.

    Example: see ``recipes.train``.
    """
    if config.focus is None:
        return None
    k = prepared.classes.names.index(config.focus)
    scores = np.concatenate([block[:, k] for block in _probabilities(logits["val"][0])])
    tuned = tune_threshold(scores, (logits["val"][1] == k).numpy())
    predicted = np.concatenate(
        [apply_threshold(block, k, tuned.value) for block in _probabilities(logits["test"][0])]
    )
    found = evaluate_predictions(predicted, logits["test"][1].numpy(), prepared.classes, resamples=0)
    row = Evaluation.to_dict(found)["classes"][k]
    return {
        "class": config.focus,
        "threshold": tuned.value,
        **{key: row[key] for key in ("f1", "precision", "recall")},
    }


def _probabilities(logits: Tensor) -> Iterator[NDArray[np.float64]]:
    """Softmax in double precision, a block of images at a time."""
    rows = max(1, _CELLS // logits.shape[1])
    for start in range(0, len(logits), rows):
        yield torch.softmax(logits[start : start + rows].double(), 1).numpy()
