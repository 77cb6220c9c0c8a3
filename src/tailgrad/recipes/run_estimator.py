"""A run whose classifier is no network: fitted in one go, evaluated and written down as every other."""

import copy
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.engine import Fitted
from tailgrad.evaluate import evaluate
from tailgrad.files import write_json
from tailgrad.recipes.advise_run import advise_on, as_fields
from tailgrad.recipes.after_training import fit_chain, make_chain
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config
from tailgrad.recipes.estimators import MOST_CATEGORIES, make_estimator
from tailgrad.recipes.finish import clear_what_is_past, focus_of, result_of, with_tuned_thresholds
from tailgrad.recipes.predictions import save_predictions
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.prior import correction_of, resample_correction
from tailgrad.recipes.resample_rows import as_matrix
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.talk import Talk
from tailgrad.types import Correction, TableInputs

LEAST = 1e-6
"""Least probability written down: leaves of a tree hold shares of 0, which have no logarithm."""


def run_estimator(config: Config, folder: RunFolder, ready: Prepared, say: Talk) -> dict[str, Any]:
    """Fit the estimator on the training rows and write what a network's run writes.

    ``predictions.parquet`` holds logarithms of its probabilities in place of logits, so that posthoc methods
    and tuned thresholds work on them. There is no checkpoint: nothing is pickled, and ``predict`` fits again.

    Args:
        config: names the estimator.
        folder: of the run.
        ready: a table.
        say: told what is fitted.

    Raises:
        InputError: the data are no table, an option is out of range, or the prior is corrected twice.

    Example: see ``recipes.train``.
    """
    chain = make_chain(config, ready.classes.counts)
    prior = _prior(config, ready, chain.steps)  # refuses before the work
    began = time.monotonic()
    model = fitted_estimator(config, ready, say)
    seconds = time.monotonic() - began
    logits = {part: _logits(model, ready, part) for part in ("val", "test")}
    if len(chain.steps):
        (folder.path / "checkpoint").mkdir(exist_ok=True)
        fit_chain(chain, logits["val"][0], logits["val"][1], folder.path / "checkpoint")
        logits = {
            part: (copy.deepcopy(chain).transform(z), y, index) for part, (z, y, index) in logits.items()
        }
        prior = _prior(config, ready, chain.steps, allow=True)
    save_predictions(folder.path / "predictions.parquet", ready, logits)
    figures = {
        part: evaluate(found[0].numpy(), found[1].numpy(), ready.classes, seed=config.seed)
        for part, found in logits.items()
    }
    rounds = int(getattr(model, "n_iter_", 0) or len(getattr(model, "estimators_", ())))
    fitted = Fitted(epoch=rounds, best_epoch=rounds, seconds=seconds, stopped="epochs")
    result = result_of(config, ready, fitted, figures) | {
        "parameters": 0,
        "focus": focus_of(config, ready, logits),
        "tuned": with_tuned_thresholds(logits, ready.classes),
        "stages": [],
        "prior": prior.to_dict(),
        "advice": as_fields(advise_on(None, figures["test"], None)),
        "unreadable": ready.reading.passed_over.to_dict(),
    }
    clear_what_is_past(folder, result["status"])
    write_json(folder.result_file, result)
    return folder.result()


def fitted_estimator(config: Config, ready: Prepared, say: Talk) -> Any:
    """The estimator of a configuration, fitted on the training rows.

    Raises:
        InputError: the data are no table, or an option is out of range.

    Example: see ``run_estimator``.
    """
    if ready.encoding is None or ready.images is None:
        raise InputError(
            f"estimator.name={config.estimator.name} needs a table, got {ready.source.name!r}; leave it out"
        )
    rows: TableInputs = ready.images["train"] if ready.made is None else ready.made[0]  # type: ignore[assignment]
    width, sizes = ready.encoding.width, ready.encoding.cardinalities
    large = [code.name for code in ready.encoding.categories if code.cardinality > MOST_CATEGORIES]
    if large and config.estimator.name == "hist_gradient_boosting":
        say(f"of more than {MOST_CATEGORIES} categories, taken as numbers: {', '.join(large)}")
    categorical = [width + c for c, size in enumerate(sizes) if size <= MOST_CATEGORIES]
    model = make_estimator(config.estimator, categorical, config.seed)
    say(f"{config.method}: fitting {type(model).__name__} on {len(rows)} rows")
    try:
        return model.fit(as_matrix(rows), ready.training_labels)
    except ValueError as error:
        raise InputError(
            f"estimator.options must fit {config.estimator.name}, got {config.estimator.options} "
            f"({' '.join(str(error).split())[:200]}); mend them"
        ) from error


def log_probabilities(model: Any, rows: TableInputs, num_classes: int) -> Tensor:
    """Logarithms of a fitted estimator's probabilities, [N, K] float32, none below that of ``LEAST``.

    Example: see ``run_estimator``.
    """
    found: NDArray[np.float64] = np.full((len(rows), num_classes), LEAST)
    found[:, model.classes_] = np.maximum(model.predict_proba(as_matrix(rows)), LEAST)
    return torch.from_numpy(np.log(found / found.sum(1, keepdims=True))).float()


def _logits(model: Any, ready: Prepared, part: str) -> tuple[Tensor, Tensor, Tensor]:
    index = ready.index(part)
    target = torch.as_tensor(ready.source.labels[index])
    rows = (ready.images or {})[part]
    return log_probabilities(model, rows, ready.classes.num_classes), target, torch.as_tensor(index)


def _prior(config: Config, ready: Prepared, posthoc: Any, *, allow: bool = False) -> Ledger:
    counts, target = ready.classes.counts, ready.training_labels.tolist()
    classes = range(ready.classes.num_classes)
    entries = [
        (
            f"resample {config.resample.name}",
            None if config.resample.name == NONE else resample_correction(ready.classes, target),
        ),
        (f"estimator {config.estimator.name}", _own_correction(config, [target.count(k) for k in classes])),
        *(
            (f"posthoc {one.name}", correction_of(made))
            for one, made in zip(config.posthoc, posthoc, strict=True)
        ),
    ]
    return ledger(
        [(name, entry) for name, entry in entries if entry is not None],
        counts,
        class_names=ready.classes.names,
        allow_double_correction=allow or config.allow_double_correction,
    )


def _own_correction(config: Config, counts: Sequence[int]) -> Correction | None:
    """Balanced subsets draw every class as often, balanced weights count it so, whatever the counts."""
    evenly = tuple(-math.log(n) if n else 0.0 for n in counts)
    if config.estimator.name == "self_paced_ensemble":
        return Correction("sampling", evenly)
    return (
        Correction("weight", evenly) if config.estimator.options.get("class_weight") == "balanced" else None
    )
