"""``predictions.parquet``: what a run says of every validation and test image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor, logsumexp, topk

from tailgrad.files import write_with
from tailgrad.recipes.prepared import Prepared

ALL_LOGITS_UP_TO = 1000
"""Classes up to which every logit is stored."""
KEPT = 100
"""Largest logits stored of each image beyond that."""
# Logits written at once: 16 MB in single precision.
_CELLS = 2**22


def save_predictions(
    path: Path, prepared: Prepared, logits: Mapping[str, tuple[Tensor, Tensor, Tensor]]
) -> None:
    """Write part, index, name, target, predicted and logits, a block of images at a time.

    Beyond 1,000 classes the logits are the 100 largest (``top_classes``, ``top_logits``) beside
    ``target_logit`` and ``log_sum_exp``, from which their probabilities and the likelihood follow: 20 MB for
    25,000 images of 8,142 classes instead of 814.

    Args:
        path: the file.
        prepared: names its images.
        logits: logits [N, K], classes [N] and positions [N] of each part.

    Raises:
        InputError: the file cannot be written.

    Example: see ``recipes.finish``.
    """
    write_with(path, lambda partial: _write(partial, prepared, logits))


def _write(path: Path, prepared: Prepared, parts: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> None:
    writer = None
    try:
        for part, (logits, target, index) in parts.items():
            rows = max(1, _CELLS // logits.shape[1])
            for start in range(0, len(target), rows):
                columns = (values[start : start + rows] for values in (logits, target, index))
                block = _block(part, prepared, *columns)
                writer = writer or pq.ParquetWriter(path, block.schema)
                writer.write_table(block)
    finally:
        if writer is not None:
            writer.close()


def _block(part: str, prepared: Prepared, logits: Tensor, target: Tensor, index: Tensor) -> Any:
    columns: dict[str, Any] = {
        "part": [part] * len(target),
        "index": index.numpy(),
        "name": [prepared.name(i) for i in index.tolist()],
        "target": target.numpy(),
        "predicted": logits.argmax(1).numpy(),
    }
    if logits.shape[1] <= ALL_LOGITS_UP_TO:
        return pa.table(columns | {"logits": _lists(logits.float().numpy())})
    values, classes = topk(logits.float(), KEPT, dim=1)
    return pa.table(
        columns
        | {
            "top_classes": _lists(classes.numpy().astype(np.int32)),
            "top_logits": _lists(values.numpy()),
            "target_logit": logits.gather(1, target[:, None])[:, 0].float().numpy(),
            "log_sum_exp": logsumexp(logits.double(), 1).numpy(),
        }
    )


def _lists(rows: NDArray[Any]) -> Any:
    """One list a row, over the memory of the array."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(rows).reshape(-1)))
