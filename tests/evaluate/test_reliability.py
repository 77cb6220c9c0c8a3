"""Everything about reliability together: parts agree, JSON holds it, tables are complete."""

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import pytest

from tailgrad import InputError
from tailgrad.evaluate import (
    ReliabilityOptions,
    conformal,
    evaluate,
    evaluate_reliability,
    expected_calibration_error,
)
from tailgrad.evaluate.reliability_text import csv_rows, tables
from tailgrad.evaluate.softmax import softmax
from tailgrad.types import ClassInfo

INFO = ClassInfo(("frequent", "some", "rare", "rarest"), (900, 90, 9, 3))
Part = tuple[np.ndarray, np.ndarray]


def drawn(seed: int, sizes: tuple[int, ...]) -> Part:
    random = np.random.default_rng(seed)
    target = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(size=(len(target), len(sizes))) + 1.5 * np.eye(len(sizes))[target], target


VAL, TEST = drawn(0, (30, 20, 10, 2)), drawn(1, (20, 20, 20, 20))


def test_parts_agree_with_the_functions_they_come_from() -> None:
    found = evaluate_reliability(VAL, TEST, INFO, ReliabilityOptions(alpha=0.2, score="cumulative"))
    p, target = softmax(TEST[0]), TEST[1]
    whole = evaluate(*TEST, INFO, resamples=0)
    assert found.images == (62, 80)
    assert found.ece == pytest.approx(whole.ece)
    assert found.ece == expected_calibration_error(p.max(1), p.argmax(1) == target)
    assert found.gap.value == pytest.approx(p.max(1).mean() - whole.accuracy.value)
    assert [one.ece for one in found.calibration] == pytest.approx([row.ece for row in whole.classes])
    assert found.way("class") == conformal(
        (softmax(VAL[0]), VAL[1]), (p, target), INFO.counts, "class", 0.2, "cumulative"
    )
    mean = np.mean([found.group_gaps[name].value * 1 for name in ("head", "tail")])  # one class each
    own = [found.calibration[k].gap_true.value for k in (0, 3)]
    assert mean == pytest.approx(np.mean(own))


def test_json_holds_it() -> None:
    found = json.loads(json.dumps(evaluate_reliability(VAL, TEST, INFO).to_dict(), allow_nan=False))
    assert found["classes"]["names"] == list(INFO.names)
    assert [way["way"] for way in found["conformal"]] == ["marginal", "thirds", "class"]


def test_tables_have_a_row_for_every_class_from_frequent_to_rare_and_print_shows_them() -> None:
    found = evaluate_reliability(VAL, TEST, INFO)
    for place in (0, 2, 4):
        assert [row[0] for row in tables(found)[place].rows][:4] == list(INFO.names)
    text = str(found)
    assert "  2*  " in text
    assert f"False Head Rate: tail images called head  {found.false_head.rate.value:.2f}" in text
    assert "head frequent; tail rarest" in text
    assert "False Head Rate" in repr(found)


def test_csv_rows_hold_the_same_figures() -> None:
    found = evaluate_reliability(VAL, TEST, INFO)
    rows = csv_rows(found)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    text.seek(0)
    read = list(csv.DictReader(text))
    assert [row["class"] for row in read] == list(INFO.names)
    last = found.way("class")
    assert last is not None
    assert float(read[3]["covered_class_low"]) == last.by_class[3].low
    assert int(read[3]["calibration_class"]) == 2
    assert read[0]["false_head"] == ""
    assert float(read[3]["false_head"]) == found.false_head.by_class[0].value


def test_without_sets_the_rest_is_there_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    few = evaluate_reliability(drawn(0, (3, 2, 1, 1)), TEST, INFO)
    assert few.conformal == ()
    assert "7 validation images" in few.no_sets

    def gone(name: str) -> Any:
        raise ModuleNotFoundError("gone", name="crepes")

    monkeypatch.setattr(sys.modules["tailgrad.evaluate.conformal"], "import_module", gone)
    bare = evaluate_reliability(VAL, TEST, INFO)
    assert bare.way("class") is None
    assert "pip install 'tailgrad[conformal]'" in str(bare)
    assert [table.title for table in tables(bare)] == [table.title for table in tables(few)]


def test_a_class_without_validation_or_test_images_stays_in_the_tables() -> None:
    found = evaluate_reliability(drawn(0, (30, 20, 10, 0)), drawn(1, (5, 5, 0, 5)), INFO)
    own = found.way("class")
    assert own is not None
    assert own.always == (False, False, False, True)
    assert found.calibration[2].gap_true is None
    assert found.abstention.class_aurc[2] is None
    shown = [table.rows for table in tables(found)]
    assert (shown[0][2][0], shown[0][2][2]) == ("rare", "")
    assert shown[2][2] == ("rare", "", "", "", "")
    assert shown[4][2] == ("rare", "10", "", "", "", "")
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("val", "test", "options", "said"),
    [
        (VAL, TEST, {"alpha": 1.5}, r"alpha must be in \(0, 1\), got 1.5"),
        (VAL, TEST, {"score": "aps"}, "score must be a known name, got 'aps'"),
        (VAL, TEST, {"answered": 0.0}, r"answered must be in \(0, 1\], got 0"),
        ((VAL[0][:, :3], VAL[1]), TEST, {}, r"one column a class \(4\), got 3"),
        (VAL, (TEST[0] * np.nan, TEST[1]), {}, "finite numbers"),
        (VAL, (TEST[0], TEST[1] + 1), {}, "class indices from 0 to 3"),
        ((VAL[0][:0], VAL[1][:0]), TEST, {}, "N and K at least 1"),
    ],
)
def test_bad_input_is_named(val: Part, test: Part, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        evaluate_reliability(val, test, INFO, ReliabilityOptions(**options))
