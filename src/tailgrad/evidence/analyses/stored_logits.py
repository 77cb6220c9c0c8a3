"""Logits of validation and test images as a finished run keeps them."""

from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.recipes.run_folder import RunFolder


class Part(NamedTuple):
    """Examples of one part.

    Args:
        logits: [N, K].
        target: class indices [N].

    Example:
        >>> Part(torch.zeros(1, 2), torch.tensor([1])).logits.shape
        torch.Size([1, 2])
    """

    logits: Tensor
    target: Tensor


def stored_logits(run: RunFolder, part: str) -> Part:
    """What ``predictions.parquet`` of a run holds of one part.

    Args:
        run: finished, of at most 1,000 classes: beyond those not all logits are kept.
        part: ``"val"`` or ``"test"``.

    Raises:
        InputError: the file is missing or keeps only the largest logits.

    Example:
        >>> from pathlib import Path
        >>> stored_logits(RunFolder(Path("missing")), "test")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: predictions must be all logits of a finished run, got ...
    """
    path = run.path / "predictions.parquet"
    if not path.is_file() or "logits" not in pq.read_schema(path).names:
        raise InputError(
            f"predictions must be all logits of a finished run, got {path}; train with at most 1,000 classes"
        )
    table = pq.read_table(path, columns=["part", "target", "logits"])
    table = table.filter(pc.equal(table["part"], part))
    rows = table["logits"].combine_chunks()
    flat = torch.tensor(rows.flatten().to_numpy(zero_copy_only=False))
    target = np.array(table["target"].to_numpy(), dtype=np.int64)
    width = len(rows[0]) if len(rows) else 0
    return Part(flat.reshape(len(target), width), torch.from_numpy(target))
