"""Logits of validation and test images as ``predictions.parquet`` of a run holds them."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.untrusted import of_shape

Logits = NDArray[np.float32]
Target = NDArray[np.int64]


def stored_logits(folder: Path, part: str) -> tuple[Logits, Target]:
    """Logits [N, K] and class indices [N] of one part.

    Args:
        folder: of a finished run with one label an image and at most 1,000 classes.
        part: ``"val"`` or ``"test"``.

    Raises:
        InputError: the file or the part is missing or damaged, not all logits are kept, or images have
            several labels.

    Example:
        >>> stored_logits(Path("missing"), "test")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must hold predictions.parquet, got missing without it; ...
    """
    path = folder / "predictions.parquet"
    if not path.is_file():
        raise InputError(
            f"run must hold predictions.parquet, got {folder} without it; train it with --resume, which "
            "evaluates it again"
        )
    try:
        with of_shape(path):
            return _part(path, part)
    except OSError as error:
        raise InputError(f"{path} must be readable, got {error}; restore it, or repeat the run") from error


def stored_images(folder: Path) -> int:
    """Number of validation and test images in ``predictions.parquet``, from its last bytes alone.

    Raises:
        InputError: the file is missing or damaged.

    Example: see ``report.reliability``.
    """
    path = folder / "predictions.parquet"
    try:
        with of_shape(path):
            return int(pq.read_metadata(path).num_rows)
    except OSError as error:
        raise InputError(f"{path} must be readable, got {error}; restore it, or repeat the run") from error


def _part(path: Path, part: str) -> tuple[Logits, Target]:
    schema = pq.read_schema(path)
    if "labels" in schema.names:
        raise InputError(
            f"run must have one label an image, got several in {path}; figures by label are in result.json"
        )
    if "logits" not in schema.names:
        raise InputError(
            f"run must keep all logits, got only the largest in {path}; train with at most 1,000 classes"
        )
    columns = ["part", "target", "logits"]
    table = pq.read_table(path, columns=columns, filters=pc.field("part") == part)
    if not len(table):
        raise InputError(
            f"run must hold predictions of its {part} part, got none in {path}; train it again with images "
            "in that part"
        )
    rows = table["logits"].combine_chunks()
    flat = rows.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), -1), table["target"].to_numpy().astype(np.int64)
