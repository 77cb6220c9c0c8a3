"""The benchmark of exported networks: what it measures of which, and how ratios come about."""

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("edge", BENCHMARKS / "edge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_network_is_timed_in_both_precisions(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(edge, "save", lambda name, content: kept.update({name: content}))
    monkeypatch.setattr(edge, "LEAST_SECONDS", 0.0)
    monkeypatch.setitem(edge.NETWORKS, "resnet8", (edge.ours("resnet8", "csba"), None))
    words = ["--rounds", "3", "--size", "32", "--batches", "1,2", "--models", "resnet8,squeezenet1_1"]
    monkeypatch.setattr(sys, "argv", ["edge.py", *words])
    edge.main()
    content = json.loads(json.dumps(kept["bench-edge-cpu"]))
    rows = {(row["model"], row["precision"]): row for row in content["rows"]}
    assert set(rows) == {(m, p) for m in ("resnet8", "squeezenet1_1") for p in ("float32", "int8")}
    for row in rows.values():
        assert row["milliseconds_batch_2"] > 0
        assert row["memory_megabytes_batch_1"] > 0
    for model in ("resnet8", "squeezenet1_1"):
        assert rows[model, "int8"]["megabytes"] < rows[model, "float32"]["megabytes"]
    assert [(one["model"], one["against"]) for one in content["ratios"]] == [("resnet8", "squeezenet1_1")] * 4
    assert all(one["low"] <= one["ratio"] <= one["high"] for one in content["ratios"])


def test_a_ratio_is_the_geometric_mean_over_rounds(edge: Any) -> None:
    found = edge.ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0])
    assert found["ratio"] == pytest.approx((2 * 4 * 4) ** (1 / 3), abs=1e-4)
    assert found["low"] < found["ratio"] < found["high"]
    again = edge.ratio([1.0, 2.0, 1.0], [2.0, 8.0, 4.0])
    assert again["low"] == pytest.approx(1 / found["high"], rel=1e-3)
    assert math.isclose(again["ratio"] * found["ratio"], 1, rel_tol=1e-3)


def test_every_network_has_its_turn_in_every_round(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(edge, "session", lambda _data, name, **_: _Silent(name))
    monkeypatch.setattr(edge, "seconds", lambda made, _: asked.append(made.name) or 1.0)
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"")
    rows = [{"model": name, "size": 8, "path": "x"} for name in "abc"]
    assert edge.timed(rows, 1, 4) == [[1.0] * 4] * 3
    rounds = [asked[start : start + 3] for start in range(0, 12, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) == 4


class _Silent:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *_: Any) -> None:
        """Nothing."""
