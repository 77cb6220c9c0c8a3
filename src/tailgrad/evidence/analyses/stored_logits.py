"""Logits of validation and test images as a finished run keeps them, as tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from tailgrad.recipes.run_folder import RunFolder
from tailgrad.report import stored_logits as report


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
        InputError: the file or the part is missing, or only the largest logits are kept.

    Example:
        >>> from pathlib import Path
        >>> stored_logits(RunFolder(Path("missing")), "test")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must hold predictions.parquet, got ...
    """
    logits, target = report.stored_logits(run.path, part)
    return Part(torch.tensor(logits), torch.from_numpy(target))
