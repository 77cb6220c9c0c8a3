from typing import Any

import numpy as np
import pytest

from tailgrad.evaluate import critical_difference
from tailgrad.report.blocks import Figure, Folded, Table, Text
from tailgrad.report.comparison import comparison_blocks
from tailgrad.report.sensitivity import sensitivity_blocks


def row(method: str, metric: str = "macro_f1", **more: Any) -> dict[str, Any]:
    improvement = {"value": 2 / 3, "low": 0.2, "high": 0.9, "how": ""}
    found = {"method": method, "metric": metric, "mean": 0.012, "n": 3, "detectable": 0.0213}
    return found | {"pairs_needed": 14, "improvement": improvement} | more


def test_the_table_says_what_could_be_seen() -> None:
    paired = [row("b"), row("c", detectable=None, pairs_needed=None), row("b", "accuracy", mean=0.9)]
    table, note = sensitivity_blocks({"metric": "macro_f1", "paired": paired}, "macro_f1")
    assert isinstance(table, Table)
    assert table.caption == "What 3 seeds can see in macro-F1"
    assert table.rows == (
        ("b", "+0.012", "0.021", "14", "0.67", "0.200 to 0.900"),
        ("c", "+0.012", "\u2013", "\u2013", "0.67", "0.200 to 0.900"),
    )
    assert "four times of five" in note.text


def test_splits_are_called_splits_and_crossed_intervals_get_a_column() -> None:
    crossed = {"value": 0.012, "low": -0.004, "high": 0.03, "how": ""}
    content = {"unit": "split", "paired": [row("b", crossed=crossed), row("c")]}
    table = sensitivity_blocks(content, "macro_f1")[0]
    assert table.caption == "What 3 splits can see in macro-F1"
    assert table.header[3] == "splits for this difference"
    assert table.header[-1] == "95 % over images crossed with splits"
    assert [cells[-1] for cells in table.rows] == ["-0.004 to +0.030", "\u2013"]
    assert all(len(cells) == len(table.header) for cells in table.rows)


@pytest.mark.parametrize("independent", [True, False])
def test_ranks_are_drawn_and_their_overlap_is_said(independent: bool) -> None:
    random = np.random.default_rng(0)
    ranks = critical_difference({name: random.random(8) for name in "abc"}).to_dict()
    content = {"ranks": ranks | {"independent": independent}}
    figure, *texts, folded = sensitivity_blocks(content, "macro_f1")
    assert isinstance(figure, Figure)
    assert texts[0].text == f"Friedman's test that all methods are equal: p = {ranks['friedman_p']:.3f}."
    strong = [text for text in texts if isinstance(text, Text) and text.strong]
    assert bool(strong) is not independent
    assert isinstance(folded, Folded)
    assert [cells[0] for cells in folded.blocks[0].rows] == ["a / b", "a / c", "b / c"]


def test_files_from_before_show_nothing_of_it() -> None:
    old = {key: value for key, value in row("b").items() if key not in {"detectable", "improvement"}}
    assert sensitivity_blocks({"paired": [old]}, "macro_f1") == ()


def test_the_comparison_holds_it_once() -> None:
    means = [{"method": m, "metric": "macro_f1", "mean": 0.5, "low": 0.4, "high": 0.6} for m in "ab"]
    rows = [mean | {"n": 3, "per_seed": [0.5] * 3} for mean in means]
    ends = {"against": "a", "p": 0.3, "p_holm": 0.3, "low": -0.1, "high": 0.1, "verdict": "cannot be told"}
    content = {"metric": "macro_f1", "unit": "split", "rows": rows, "paired": [row("b", **ends)]}
    tables = [block for block in comparison_blocks(content, seeds=6) if isinstance(block, Table)]
    assert next(table.header[2:4] for table in tables) == ("95 % over splits", "each split")
    assert sum("can see in" in table.caption for table in tables) == 1
