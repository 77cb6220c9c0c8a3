"""Logits read back from a run's predictions, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailgrad import InputError
from tailgrad.report.stored_logits import stored_logits

LOGITS = [[1.5, -0.5], [0.25, 2.0], [0.0, 1.0]]


def write(folder: Path, **columns: Any) -> Path:
    table = {"part": ["val", "test", "test"], "target": [1, 0, 1], "logits": LOGITS, **columns}
    pq.write_table(
        pa.table({name: values for name, values in table.items() if values}),
        folder / "predictions.parquet",
        row_group_size=2,
    )
    return folder


def test_each_part_comes_back_in_order(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for part, wanted, classes in (("val", LOGITS[:1], [1]), ("test", LOGITS[1:], [0, 1])):
        logits, target = stored_logits(folder, part)
        np.testing.assert_array_equal(logits, wanted)
        assert target.tolist() == classes


@pytest.mark.parametrize(
    ("columns", "part", "said"),
    [
        ({"part": ["test"] * 3}, "val", "predictions of its val part, got none"),
        ({"logits": None, "top_logits": LOGITS}, "val", "must keep all logits, got only the largest"),
        ({"target": None, "labels": [[0, 1], [], [1]]}, "test", "one label an image, got several"),
        ({"target": None}, "test", "must hold what tailgrad writes"),
        ({"logits": [[1.0], [1.0], [0.0, 1.0, 2.0, 4.0]]}, "test", "must hold what tailgrad writes"),
    ],
)
def test_what_cannot_serve_is_named(tmp_path: Path, columns: dict[str, Any], part: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        stored_logits(write(tmp_path, **columns), part)


def test_a_missing_and_a_damaged_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without it; train it with --resume"):
        stored_logits(tmp_path, "test")
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"predictions.parquet must"):
        stored_logits(tmp_path, "test")
