"""Our own figures in the catalogue: those of committed studies, and no others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tailgrad.recipes.catalogue import catalogue, measured
from tailgrad.recipes.compose import named

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*/comparison.json"))
FIGURE = r"(\d\.\d{3}) \[(-?\d\.\d{3}), (\d\.\d{3})\] \(([^,]+), ([^,]+), (\d+) seeds\)"


def _rows() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path in RESULTS:
        content = json.loads(path.read_text(encoding="utf-8"))
        for row in content["comparison"]["rows"]:
            if row["metric"] == "macro_f1":
                found.setdefault(row["method"], []).append({**row, **content["study"]})
    return found


ROWS = _rows()


def test_there_are_studies_to_compare_with() -> None:
    assert len(RESULTS) >= 2
    assert len(ROWS) >= 2


@pytest.mark.parametrize("entry", [e for e in catalogue() if e.kind == "method"], ids=lambda e: e.name)
def test_a_method_has_figures_where_a_study_measured_it_and_only_there(entry: Any) -> None:
    rows = ROWS.get(entry.name, [])
    parts = entry.ours.split("; ") if entry.ours else []
    assert len(parts) == len(rows)
    for part, row in zip(parts, rows, strict=True):
        mean, low, high, source, regime, seeds = re.fullmatch(FIGURE, part).groups()
        for text, key in ((mean, "mean"), (low, "low"), (high, "high")):
            assert float(text) == pytest.approx(row[key], abs=5.001e-4)
        assert (source, regime, int(seeds)) == (row["source"], row["regime"], row["n"])
        assert row["n"] == len(row["per_seed"]) >= 2, "one seed is no figure"


def test_only_methods_have_figures_of_ours() -> None:
    assert set(measured()) == set(ROWS)
    assert set(measured()) <= set(named("methods"))
    assert not [entry.name for entry in catalogue() if entry.kind != "method" and entry.ours]
