from typing import Any

import pytest

from tailgrad.report.blocks import Folded, Table, Text
from tailgrad.report.comparison import comparison_blocks, comparison_cards


def comparison(methods: int, *, one: bool = False) -> dict[str, Any]:
    ends = (None, None) if one else (0.4, 0.7)
    names = [f"m{i}" for i in range(methods)]
    rows = [
        {"method": name, "metric": metric, "mean": 0.5 + i / 100, "low": ends[0], "high": ends[1]}
        | {"n": 1 if one else 3, "per_seed": [0.5 + i / 100] * (1 if one else 3)}
        for metric in ("macro_f1", "accuracy")
        for i, name in enumerate(names)
    ]
    paired = [
        {"method": name, "against": "m0", "metric": metric, "mean": i / 100, "p": 0.04, "p_holm": 0.08}
        | {"low": None if one else -0.1, "high": None if one else 0.2, "verdict": "cannot be told"}
        for metric in ("macro_f1", "accuracy")
        for i, name in enumerate(names)
        if i
    ]
    return {"metric": "macro_f1", "rows": rows, "paired": paired}


def test_cards_show_means_and_differences_of_the_headline_metric() -> None:
    cards = comparison_cards(comparison(2))
    assert [card.label for card in cards] == ["macro-F1, m0", "macro-F1, m1", "m1 minus m0"]
    assert cards[2].note == "95 %: -0.100 to +0.200; cannot be told"


@pytest.mark.parametrize(("methods", "cards"), [(1, 1), (3, 5), (6, 6)])
def test_many_methods_do_not_drown_the_headline(methods: int, cards: int) -> None:
    assert len(comparison_cards(comparison(methods))) == cards


def test_table_pairs_each_method_with_its_difference() -> None:
    blocks = comparison_blocks(comparison(3), seeds=3)
    table = next(block for block in blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["m0", "m1", "m2"]
    assert table.rows[0][4:] == ("", "", "", "", "reference")
    assert table.rows[2][4:] == ("+0.020", "-0.100 to +0.200", "0.040", "0.080", "cannot be told")
    folded = next(block for block in blocks if isinstance(block, Folded))
    assert "accuracy" in folded.blocks[0].caption


def test_one_seed_is_said_first() -> None:
    first = comparison_blocks(comparison(2, one=True), seeds=1)[0]
    assert isinstance(first, Text)
    assert first.strong
    assert "nothing can be concluded" in first.text
    assert not any(
        isinstance(block, Text) and block.strong for block in comparison_blocks(comparison(2), seeds=3)
    )


def test_comparison_without_a_metric_key_in_its_rows_is_read() -> None:
    old = comparison(2)
    old["rows"] = [
        {key: value for key, value in row.items() if key != "metric"}
        for row in old["rows"]
        if row["metric"] == "macro_f1"
    ]
    assert len(comparison_cards(old)) == 3


def test_mcnemar_counts_are_shown() -> None:
    found = comparison(2) | {
        "mcnemar_seed0": [
            {"method": "m1", "against": "m0", "p": 0.25, "images": {"only_m1": 3, "only_m0": 0}}
        ]
    }
    *_, last = comparison_blocks(found, seeds=3)
    assert isinstance(last, Folded)
    assert last.blocks[0].rows == (("m1", "m0", "3", "0", "0.250"),)


def test_intervals_of_means_end_where_figures_do() -> None:
    wild = comparison(2)
    wild["rows"][0] |= {"low": -0.4, "high": 1.3}
    wild["rows"][1] |= {"low": None, "high": None}
    assert [card.note for card in comparison_cards(wild)[:2]] == [
        "95 % over 3 seeds: 0.000 to 1.000",
        "all seeds equal: no interval",
    ]
