"""What a folder held before its comparison was made smaller does not count."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tailgrad.evidence.group_runs import group_runs


def _run(group: Path, seed: int, status: str = "finished") -> dict[str, object]:
    place = group / "runs" / f"ce.seed{seed}"
    place.mkdir(parents=True)
    row: dict[str, object] = {"method": "ce", "seed": seed, "split_seed": 0}
    (place / "result.json").write_text(json.dumps(row | {"status": status}))
    return row


def test_runs_outside_the_comparison_are_left_out(tmp_path: Path) -> None:
    rows = [_run(tmp_path, seed) for seed in range(3)]
    _run(tmp_path, 3, status="stopped")
    assert [result["seed"] for _, result in group_runs(tmp_path)] == [0, 1, 2]
    pq.write_table(pa.Table.from_pylist(rows[:2]), tmp_path / "results.parquet")
    assert [folder.path.name for folder, _ in group_runs(tmp_path)] == ["ce.seed0", "ce.seed1"]
