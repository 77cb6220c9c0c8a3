"""Training rows of a table filled up or cut down by imbalanced-learn, after they were encoded."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config, NamedConfig
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.talk import Talk
from tailgrad.samplers.resample import METHODS, resample
from tailgrad.types import TableInputs

OPTIONS = ("k_neighbors", "sampling_strategy")
MADE = -1
"""Position of a row that is in no file."""

Matrix = NDArray[np.float32]


def check_resample(named: NamedConfig) -> None:
    """Check the name of a way to resample, and of its options.

    Raises:
        InputError: one is unknown; the nearest is given.

    Example:
        >>> check_resample(NamedConfig(name="smoe"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: resample.name must be a known name, got 'smoe'; did you mean 'smote'?
    """
    one_of("resample.name", named.name, [NONE, *METHODS])
    for option in named.options:
        if option not in OPTIONS or named.name == NONE:
            raise InputError(
                f"resample.options.{option} is not an option of {named.name}; {nearest(option, OPTIONS)}"
            )


def resampled(ready: Prepared, config: Config, say: Talk) -> Prepared:
    """The data with other rows to train on, where the method says so; all else is measured on the given rows.

    Neighbours are looked for among standardised numbers. Columns of categories, and those that say where a
    value was missing, take values that occur (``smote`` is then SMOTE-NC).

    Args:
        ready: a table.
        config: names the way, its options and the seed.
        say: told how many rows of each class there are now.

    Raises:
        InputError: the way does not suit the columns or the classes, or imbalanced-learn is missing.

    Example: see ``recipes.train``.
    """
    if config.resample.name == NONE or ready.encoding is None:
        return ready
    rows = (ready.images or {})["train"]
    before, labels = as_matrix(rows), ready.source.labels[ready.split.train]
    width = ready.encoding.width
    discrete = (*ready.encoding.discrete, *range(width, before.shape[1]))
    options: dict[str, Any] = dict(config.resample.options)
    try:
        found, target = say.warn_of(
            lambda: resample(
                before, labels, config.resample.name, categories=discrete, seed=config.seed, **options
            )
        )
    except ModuleNotFoundError as error:
        raise InputError(str(error)) from error
    counts = np.bincount(target, minlength=ready.source.num_classes)
    told = ", ".join(f"{name} {n}" for name, n in zip(ready.classes.names[:10], counts[:10], strict=True))
    say(f"{config.resample.name}: {len(target)} rows to train on in place of {len(labels)} ({told})")
    return replace(
        ready,
        made=(
            as_rows(found, width),
            torch.from_numpy(target),
            torch.from_numpy(positions(found, before, ready.split.train)),
        ),
    )


def as_matrix(rows: TableInputs) -> Matrix:
    """Numbers and positions of categories side by side, [N, F + C].

    Example:
        >>> as_matrix(TableInputs(torch.zeros(2, 3), torch.ones(2, 1, dtype=torch.int64))).shape
        (2, 4)
    """
    return np.column_stack([rows.numbers.numpy(), rows.categories.numpy().astype(np.float32)])


def as_rows(matrix: Matrix, width: int) -> TableInputs:
    """The same back as rows, of ``width`` numbers.

    Example:
        >>> as_rows(np.zeros((2, 4), np.float32), 3).categories.shape
        torch.Size([2, 1])
    """
    return TableInputs(
        torch.from_numpy(np.ascontiguousarray(matrix[:, :width], dtype=np.float32)),
        torch.from_numpy(np.rint(matrix[:, width:]).astype(np.int64)),
    )


def positions(rows: Matrix, before: Matrix, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position in the source of every row that was there before, and ``MADE`` of the others, [M].

    Example:
        >>> before = np.array([[1.0], [2.0]], np.float32)
        >>> positions(np.array([[2.0], [1.5]], np.float32), before, np.array([7, 9]))
        array([ 9, -1])
    """
    known = {row.tobytes(): int(i) for row, i in zip(before, index, strict=True)}
    return np.array([known.get(row.tobytes(), MADE) for row in np.ascontiguousarray(rows)], dtype=np.int64)
