"""The blocks on class prior, thresholds and stages, read back against the ledger's own numbers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailgrad.correction_ledger import ledger
from tailgrad.report import write_report
from tailgrad.report.blocks import Folded, Table, Text
from tailgrad.report.prior import MEANING, TUNED, method_blocks, prior_blocks
from tailgrad.types import Correction

COUNTS = (700, 200, 100)
NAMES = ("cat", "dog", "eel")


def _prior(
    counts: tuple[int, ...], *entries: tuple[str, str, Any], names: tuple[str, ...] | None = None
) -> Any:
    components = [(name, Correction(kind, tuple(shift))) for name, kind, shift in entries]
    found = ledger(components, counts, class_names=names, allow_double_correction=True)
    return json.loads(json.dumps(found.to_dict()))


def _logs(counts: tuple[int, ...], factor: float = 1.0) -> list[float]:
    return [factor * float(np.log(n / sum(counts))) if n else 0.0 for n in counts]


def _tables(result: dict[str, Any]) -> dict[str, Table]:
    flat = [
        inner for one in prior_blocks(result) for inner in (one.blocks if isinstance(one, Folded) else (one,))
    ]
    return {one.caption: one for one in flat if isinstance(one, Table)}


def test_the_lift_of_each_component_is_of_the_rarest_over_the_most_frequent() -> None:
    prior = _prior(
        COUNTS,
        ("loss ce", "weight", _logs(COUNTS, -1)),
        ("sampler", "sampling", _logs(COUNTS, -0.5)),
        ("margins", "listed", ()),
        ("posthoc", "test_shift", _logs(COUNTS, 2.0)),
        names=NAMES,
    )
    blocks = prior_blocks({"prior": prior})
    assert blocks[0] == Text(MEANING)
    assert [type(one) for one in blocks] == [Text, Table, Table]
    table = blocks[1]
    assert isinstance(table, Table)
    assert table.caption == "What lifts eel, the rarest class, over cat"
    # The imbalance is 7: a full correction lifts 7 times, half of one its root, two of them 49 times.
    assert table.rows == (
        ("loss ce", "weight", "7 times"),
        ("sampler", "sampling", "2.646 times"),
        ("margins", "listed", "1 times"),
        ("posthoc", "test shift", "49 times"),
    )


def test_every_class_stands_in_the_table_with_its_own_numbers() -> None:
    prior = _prior(
        COUNTS, ("w", "weight", [0.0, 0.7, 1.1]), ("t", "train_shift", [0.3, 0.0, -0.2]), names=NAMES
    )
    table = _tables({"prior": prior})["The prior by class"]
    assert [row[0] for row in table.rows] == list(NAMES)
    pi = np.array(COUNTS) / 1000
    weights, shift = np.exp([0.0, 0.7, 1.1]), np.array([0.3, 0.0, -0.2])
    # Logits learn log(pi w) - s, so that what is left is pi w exp(-s), normalised.
    left = pi * weights * np.exp(-shift)
    columns = [COUNTS, pi, weights, shift, [0, 0, 0], left / left.sum()]
    for k, row in enumerate(table.rows):
        assert len(row) == len(table.header) == 7
        for cell, column in zip(row[1:], columns, strict=True):
            assert float(cell) == pytest.approx(column[k], rel=6e-3, abs=1e-9)
    assert sum(float(row[-1]) for row in table.rows) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("number", "folded"), [(2, False), (25, False), (26, True), (200, True)])
def test_long_tables_are_folded(number: int, folded: bool) -> None:
    counts = tuple(range(1000, 1000 - number, -1))
    blocks = prior_blocks({"prior": _prior(counts, ("w", "weight", _logs(counts, -1)))})
    assert len(blocks) == 3
    last = blocks[-1]
    assert isinstance(last, Folded) == folded
    (table,) = last.blocks if isinstance(last, Folded) else (last,)
    assert isinstance(table, Table)
    assert len(table.rows) == number
    if isinstance(last, Folded):
        assert last.title == table.caption
    assert [float(row[-1]) for row in table.rows] == pytest.approx([1 / number] * number, rel=1e-3)


def test_two_classes_name_the_rare_one_whatever_their_order() -> None:
    for counts, names in (((90, 10), ("a", "b")), ((10, 90), ("b", "a"))):
        prior = _prior(counts, ("w", "weight", _logs(counts, -1)), names=names)
        (caption, table) = next(iter(_tables({"prior": prior}).items()))
        assert caption == "What lifts b, the rarest class, over a"
        assert table.rows == (("w", "weight", "9 times"),)


def test_classes_without_examples_are_not_the_rarest() -> None:
    prior = _prior((70, 0, 10), ("w", "weight", _logs((70, 0, 10), -1)), names=NAMES)
    tables = _tables({"prior": prior})
    assert "What lifts eel, the rarest class, over cat" in tables
    assert tables["The prior by class"].rows[-1][:3] == ("dog", "0", "0")  # the frequent ones first


def test_long_names_are_cut_in_the_caption_and_whole_in_the_table() -> None:
    names = ("n" * 300, "dog", "e" * 40 + "l")
    tables = _tables({"prior": _prior(COUNTS, ("w", "weight", [0, 0, 0]), names=names)})
    caption = next(iter(tables))
    assert len(caption) < 110
    assert [row[0] for row in tables["The prior by class"].rows] == list(names)


# What a result does not hold is not shown


def _test(f1: list[float | None], support: list[int]) -> dict[str, Any]:
    rows = [{"f1": {"value": value}, "support": n} for value, n in zip(f1, support, strict=True)]
    return {"macro_f1": {"value": 0.5}, "accuracy": {"value": 0.875}, "classes": rows}


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"prior": None, "tuned": None, "stages": None},
        {"prior": {}, "tuned": {}, "stages": []},
        {"prior": _prior(COUNTS), "stages": []},  # nothing moves the prior: no table of one
        {"test": _test([0.5], [3]), "method": "csba"},
    ],
)
def test_results_without_these_keys_show_nothing(result: dict[str, Any]) -> None:
    assert prior_blocks(result) == ()


def test_tuned_figures_stand_beside_those_as_trained() -> None:
    tuned = {"macro_f1": 0.6127, "accuracy": 0.9, "worst_f1": 0.25}
    # A class without test images has no F1 that could be the worst.
    result = {"tuned": tuned, "test": _test([0.8, 0.0, 0.125], [5, 0, 4])}
    text, table = prior_blocks(result)
    assert text == Text(TUNED)
    assert isinstance(table, Table)
    assert table.rows == (
        ("macro-F1", "0.500", "0.613"),
        ("accuracy", "0.875", "0.900"),
        ("F1 of the worst class", "0.125", "0.250"),
    )


def test_a_test_part_without_images_has_no_worst_class() -> None:
    result = {"tuned": {"worst_f1": None}, "test": _test([None, None], [0, 0])}
    table = _tables(result)["With tuned thresholds"]
    assert table.rows[0][1:] == ("\u2013", "\u2013")


def test_stages_are_told_in_order_with_what_they_chose() -> None:
    stages = [
        {"stage": "crt", "val_macro_f1": 0.51234, "chosen": {}},
        {"stage": "tau", "val_macro_f1": 0.6, "chosen": {"tau": 0.7}},
        {"stage": "merge", "val_macro_f1": float("nan"), "chosen": {"natural share": 0.30000000000000004}},
    ]
    table = _tables({"stages": stages})["Later stages"]
    assert table.rows == (
        ("crt", "0.512", "nothing"),
        ("tau", "0.600", "tau 0.7"),
        ("merge", "\u2013", "natural share 0.3"),
    )


def test_a_report_shows_the_blocks_and_one_of_an_older_run_does_without(
    make_run: Any, tmp_path: Path
) -> None:
    result = make_run(tmp_path / "old", names=NAMES, counts=COUNTS)
    old = write_report(tmp_path / "old").read_text(encoding="utf-8")
    make_run(tmp_path / "new", names=NAMES, counts=COUNTS)
    result |= {"prior": _prior(COUNTS, ("loss ce", "weight", _logs(COUNTS, -1)), names=NAMES)}
    result |= {
        "tuned": {"macro_f1": 0.7654},
        "stages": [{"stage": "crt", "val_macro_f1": 0.4321, "chosen": {}}],
    }
    (tmp_path / "new" / "result.json").write_text(json.dumps(result), encoding="utf-8")
    new = write_report(tmp_path / "new").read_text(encoding="utf-8")
    before, after = (page.split("plotly.js")[0] for page in (old, new))
    for words in (
        "Class prior and thresholds",
        "What lifts eel",
        "7 times",
        "Later stages",
        "0.765",
        "0.432",
    ):
        assert words in after
        assert words not in before


def test_methods_stand_side_by_side() -> None:
    counts = (900, 90, 9)
    plain = {
        "prior": ledger([], counts).to_dict(),
        "test": {"macro_f1": {"value": 0.4}},
        "tuned": {"macro_f1": 0.5},
    }
    half = Correction("weight", tuple(-0.5 * math.log(n) for n in counts))
    stages = [{"stage": "crt", "epochs": 10, "chosen": {}, "val_macro_f1": 0.5}]
    weighted = {**plain, "prior": ledger([("weights", half)], counts).to_dict(), "stages": stages}
    better = {**weighted, "test": {"macro_f1": {"value": 0.6}}, "tuned": {"macro_f1": 0.6}}
    (table,) = [b for b in method_blocks({"ce": [plain], "w": [weighted, better]}) if b.kind == "table"]
    assert table.rows == (
        ("ce", "nothing", "1.00", "0.400", "0.500", "0"),
        ("w", "weights", "0.50", "0.500", "0.550", "10"),
    )
    assert method_blocks({"old": [{"test": {}}]}) == ()
