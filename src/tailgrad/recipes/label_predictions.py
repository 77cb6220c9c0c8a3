"""``predictions.parquet`` of a run whose images have several labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from tailgrad.evaluate.label_thresholds import LabelThresholds
from tailgrad.files import write_with
from tailgrad.recipes.prepared import Prepared


def save_label_predictions(
    path: Path,
    prepared: Prepared,
    logits: Mapping[str, tuple[Tensor, Tensor, Tensor]],
    thresholds: LabelThresholds,
) -> None:
    """Write part, index, name, labels, predicted labels and logits of every validation and test image.

    Labels are lists of positions, an empty one for an image without.

    Args:
        path: the file.
        prepared: names its images.
        logits: logits [N, L], targets [N, L] and positions [N] of each part.
        thresholds: decide what is predicted.

    Raises:
        InputError: the file cannot be written.

    Example: see ``recipes.finish_labels``.
    """
    blocks = [_block(part, prepared, found, thresholds) for part, found in logits.items()]
    table = pa.concat_tables(blocks)
    write_with(path, lambda partial: pq.write_table(table, partial))


def _block(
    part: str, prepared: Prepared, found: tuple[Tensor, Tensor, Tensor], thresholds: LabelThresholds
) -> Any:
    logits, target, index = found
    said = thresholds.apply(logits)
    positions = pa.list_(pa.int32())
    return pa.table(
        {
            "part": [part] * len(index),
            "index": index.numpy(),
            "name": [prepared.name(i) for i in index.tolist()],
            "labels": pa.array([row.nonzero()[0].tolist() for row in target.numpy()], positions),
            "predicted": pa.array([row.nonzero()[0].tolist() for row in said], positions),
            "logits": pa.array(list(logits.float().numpy())),
        }
    )
