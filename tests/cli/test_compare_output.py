"""What ``tailgrad compare`` prints of a finished study."""

from pathlib import Path
from typing import Any

import pytest

from tailgrad.cli.compare import _show
from tailgrad.recipes.compare import Study
from tailgrad.recipes.conclude import conclude


def study(values: dict[str, list[float]], *, splits: bool = False) -> Study:
    def result(value: float, place: int) -> dict[str, Any]:
        figures = {name: {"value": value} for name in ("macro_f1", "balanced_accuracy", "accuracy")}
        test = {**figures, "classes": [{"f1": {"value": value}, "support": 3}], "images": 30}
        where = {"seed": place % 2, "split_seed": place // 2} if splits else {"seed": place, "split_seed": 0}
        return {"test": test, "train_images": 70, "tuned": {"macro_f1": value}, **where}

    results = {name: [result(v, i) for i, v in enumerate(found)] for name, found in values.items()}
    return Study(Path("studies/x"), conclude(results, own_test=not splits))


LOW = [0.50, 0.53, 0.52, 0.51]


def test_the_closing_lines_say_what_could_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    found = study({"a": LOW, "near": [0.52, 0.56, 0.50, 0.55], "better": [0.60, 0.63, 0.62, 0.615]})
    _show(found)
    *_, conclusion, needed, report = capsys.readouterr().out.splitlines()
    assert "With 4 seeds nothing under " in conclusion
    row = next(row for row in found.comparison["paired"] if row["method"] == "near")
    words = f"Seeds that would show a difference as large as found: near {row['pairs_needed']}."
    assert needed == words
    assert report.startswith("report: ")


def test_splits_are_counted_as_splits_and_what_no_number_shows_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _show(study({"a": [*LOW, 0.5, 0.5], "b": [0.53, 0.50, 0.52, 0.53, 0.49, 0.5]}, splits=True))
    out = capsys.readouterr().out
    assert "Means over 3 splits" in out
    assert "With 3 splits of 2 seeds nothing under " in out
    assert "Splits that would show a difference as large as found: b (not even 1000)." in out


def test_one_seed_promises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _show(study({"a": [0.5], "b": [0.6]}))
    assert "that would show" not in capsys.readouterr().out
