"""Classes of new rows of a table by a trained run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.data.new_rows import NewRows, open_new_tables, row_places
from tailgrad.data.table_encoding import ENCODING, TableEncoding, load_encoding
from tailgrad.evaluate import apply_threshold
from tailgrad.posthoc import Chain
from tailgrad.recipes.after_training import load_chain
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config
from tailgrad.recipes.prediction import Prediction, focus_of_run
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.resample_rows import resampled
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.row_parts import as_inputs
from tailgrad.recipes.run_estimator import fitted_estimator, log_probabilities
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.same_split import check_split
from tailgrad.recipes.talk import Talk
from tailgrad.types import ClassInfo, TableInputs

BATCH = 4096


def predict_rows(
    run: str | Path, tables: Sequence[str | Path], *, console: Console | None = None
) -> list[Prediction]:
    """Classify the rows of tables; where the run has a class in focus, its tuned threshold decides.

    A category that training has not seen, and a missing number, are said and classified all the same. Where a
    table brings the target column, every prediction holds the row's own label beside it. A run whose
    classifier is no network is fitted again, on the data that it names.

    Args:
        run: folder of a finished run on a table.
        tables: CSV or parquet files.
        console: where to say what was made up; None is silent.

    Raises:
        InputError: a column of the run is missing, a label is none of the run's classes, or the data of an
            estimator's run are not at hand any more.

    Example: see ``predict``.
    """
    folder, talk = RunFolder(Path(run)), Talk(console)
    config, encoding = folder.config(), load_encoding(Path(run) / ENCODING)
    opened = open_new_tables(tables, encoding, talk)
    inputs = [as_inputs(rows.encoded) for _, rows in opened]
    if config.estimator.name == NONE:
        network = restore(folder.path)
        logits, chain = _by_network(network, inputs), network.posthoc
    else:
        logits, chain = _fitted_again(folder, config, inputs, talk)
    return _predictions(
        opened, encoding.classes, _after(chain, logits), focus_of_run(folder, encoding.classes)
    )


def classify_rows(
    network: Restored,
    encoding: TableEncoding,
    tables: Sequence[str | Path],
    focus: tuple[int, float] | None = None,
    *,
    console: Console | None = None,
) -> list[Prediction]:
    """As ``predict_rows``, by a network that is in memory.

    Args:
        network: with what its outputs mean.
        encoding: of the columns that it was trained with.
        tables: CSV or parquet files.
        focus: index and threshold of a class in focus.
        console: where to say what was made up; None is silent.

    Raises:
        InputError: a column is missing, or a label is none of the classes.

    Example: see ``predict``.
    """
    opened = open_new_tables(tables, encoding, Talk(console))
    logits = _by_network(network, [as_inputs(rows.encoded) for _, rows in opened])
    return _predictions(opened, encoding.classes, _after(network.posthoc, logits), focus)


def _predictions(
    opened: Sequence[tuple[str, NewRows]],
    names: Sequence[str],
    logits: Tensor,
    focus: tuple[int, float] | None,
) -> list[Prediction]:
    chances: NDArray[np.float64] = torch.softmax(logits.double(), 1).numpy()
    best = chances.argmax(1) if focus is None else apply_threshold(chances, *focus)
    return [
        Prediction(place, names[k], float(row[k]), tuple(row.tolist()), label=label)
        for (place, label), k, row in zip(row_places(opened), best.tolist(), chances, strict=True)
    ]


def _by_network(network: Restored, parts: Sequence[TableInputs]) -> Tensor:
    """Logits [N, K] of all rows of all tables."""
    with torch.no_grad():
        return torch.cat(
            [network.model(part[at : at + BATCH]) for part in parts for at in range(0, len(part), BATCH)]
        )


def _after(chain: Chain, logits: Tensor) -> Tensor:
    """Logits after posthoc methods."""
    found: Tensor = chain.transform(logits) if len(chain.steps) else logits
    return found


def _fitted_again(
    folder: RunFolder, config: Config, parts: Sequence[TableInputs], talk: Talk
) -> tuple[Tensor, Chain]:
    if config.source == "python":
        raise InputError(
            f"run must name its data to be fitted again, got {folder.path}, which was fitted on a Python "
            "object; nothing is pickled: train it on a file"
        )
    ready = prepare(config, None, talk)
    check_split(folder, ready)
    model = fitted_estimator(config, resampled(ready, config, talk), talk)
    classes: ClassInfo = ready.classes
    chain = load_chain(config, classes.counts, folder.path / "checkpoint")
    return torch.cat([log_probabilities(model, part, classes.num_classes) for part in parts]), chain
