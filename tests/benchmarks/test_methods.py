"""The benchmark of losses and steps: everything exported is timed, and parts can be run one by one."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tailgrad.optim.asymmetric_sam import VARIANTS
from tailgrad.recipes.components import components

pytestmark = pytest.mark.long

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STATED = {
    "batch",
    "classes",
    "soft_targets",
    "network",
    "command",
    "commit",
    "seeds",
    "hardware",
    "versions",
    "date",
}


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("methods", BENCHMARKS / "methods.py")
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SHORTEST", 0.0)
    monkeypatch.setattr(module, "IMAGES", 10)
    return module


def run(methods: Any, monkeypatch: pytest.MonkeyPatch, part: str, out: Path) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["methods.py", part, "--rounds", "1", "--out", str(out)])
    methods.main()
    return json.loads(out.read_text())


def test_every_loss_and_step_is_timed(
    methods: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(methods, monkeypatch, "losses-10", tmp_path / "found.json")
    said = capsys.readouterr().out
    found = run(methods, monkeypatch, "steps", tmp_path / "found.json")
    assert found.keys() == {"losses-10", "steps"}, "a part keeps what others found"
    assert found["losses-10"].keys() - STATED == components("losses").keys()
    assert found["steps"].keys() - STATED >= VARIANTS.keys() | components("mixers").keys() | {"PCGrad", "BBN"}
    for part in found.values():
        assert part["hardware"]["cores"] >= 1
        for name in part.keys() - STATED:
            low, high = part[name]["ratio_quartiles"]
            assert 0 < low <= part[name]["ratio_median"] <= high
    assert all(name in said for name in components("losses"))


def test_both_sides_are_called_equally_often(methods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "SHORTEST", 1e-3)
    calls = {"a": 0, "b": 0}

    def counted(name: str) -> Any:
        return lambda: calls.update({name: calls[name] + 1})

    found = methods.compare(counted("a"), counted("b"), rounds=4)
    assert found["calls"] > 1
    assert calls == {"a": 4 * found["calls"] + 2, "b": 4 * found["calls"] + 2}


def test_what_is_over_its_goal_says_why(methods: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ratio = {"ratio_median": 3.5, "ratio_quartiles": [3.0, 4.0]}
    methods.show("a", ratio | {"reason": "it is long"}, 3.0)
    methods.show("b", ratio, 3.6)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("over the goal of 3.0: it is long")
    assert second.endswith("quartiles 3.00 to 4.00")


def test_reasons_are_for_losses_that_exist(methods: Any) -> None:
    assert methods.REASONS.keys() <= components("losses").keys()
    assert methods.GOALS.keys() - {"losses-1000"} <= VARIANTS.keys()
