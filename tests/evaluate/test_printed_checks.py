from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evaluate import (
    PrintedColumn,
    PrintedTable,
    accuracy_follows,
    f1_follows,
    means_follow,
    predictions_follow,
    supports_follow,
)
from tailgrad.evaluate.printed_table import span

CHECKS = (f1_follows, means_follow, accuracy_follows, predictions_follow, supports_follow)


def figures(*texts: str | None) -> tuple[Decimal | None, ...]:
    return tuple(None if text is None else Decimal(text) for text in texts)


def printed(value: float, how: str) -> Decimal:
    return Decimal(value).quantize(Decimal("0.001"), how)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(2, 6).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 400), min_size=k, max_size=k), min_size=k, max_size=k)
    ),
    st.sampled_from([ROUND_HALF_EVEN, ROUND_DOWN]),
)
def test_no_true_table_is_called_impossible(rows: list[list[int]], how: str) -> None:
    """Scikit-learn makes the figures; rounding and truncation are those of decimal."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    confusion = np.array(rows) + np.eye(len(rows), dtype=int)
    target, found = (
        np.repeat(np.indices(confusion.shape)[axis].ravel(), confusion.ravel()) for axis in (0, 1)
    )
    by_class = precision_recall_fscore_support(target, found, zero_division=0)
    means = {
        f"{kind}_{name}": printed(value, how)
        for kind in ("macro", "weighted")
        for name, value in zip(
            ("precision", "recall", "f1"),
            precision_recall_fscore_support(target, found, average=kind, zero_division=0)[:3],
            strict=True,
        )
    }
    means["accuracy"] = printed(accuracy_score(target, found), how)
    columns = [tuple(printed(x, how) for x in values) for values in by_class[:3]]
    column = PrintedColumn("m", *columns, means)
    supports = tuple(map(int, confusion.sum(1)))
    for known in (supports, None):
        table = PrintedTable(tuple("abcdef"[: len(rows)]), (column,), 3, known, sum(supports))
        verdicts = {finding.verdict for check in CHECKS for finding in check(table)}
        assert verdicts <= {"consistent", "cannot be told"}
        assert known is None or verdicts - {"cannot be told"}


def one(precision: str, recall: str, f1: str) -> PrintedTable:
    column = PrintedColumn("m", figures(precision), figures(recall), figures(f1), {})
    return PrintedTable(("cat",), (column,), len(f1) - 2)


@pytest.mark.parametrize(("f1", "rounded", "truncated"), [("0.462", 1, 0), ("0.461", 0, 1)])
def test_rounded_and_truncated_f1_are_told_apart(f1: str, rounded: int, truncated: int) -> None:
    """2 x .600 x .375 / .975 = .46154."""
    finding = f1_follows(one("0.600", "0.375", f1))[0]
    assert finding.verdict == "consistent"
    assert (finding.numbers["rounded"], finding.numbers["truncated"]) == (rounded, truncated)


@pytest.mark.parametrize("f1", ["0.444", "0.479"])
def test_f1_that_does_not_follow_is_named(f1: str) -> None:
    finding = f1_follows(one("0.600", "0.375", f1))[0]
    assert (finding.verdict, finding.numbers["classes_apart"]) == ("impossible", ["cat"])
    assert f"{f1} of cat (0.462)" in finding.sentence


def test_means_are_taken_over_classes_or_by_support() -> None:
    f1 = figures("0.200", "0.800")
    column = PrintedColumn("m", f1, f1, f1, {"macro_f1": Decimal("0.500"), "weighted_f1": Decimal("0.500")})
    table = PrintedTable(("a", "b"), (column,), 3, (10, 30))
    assert [(f.check, f.verdict) for f in means_follow(table)] == [
        ("macro F1", "consistent"),
        ("weighted F1", "impossible"),
    ]
    assert means_follow(table)[1].numbers["implied"] == pytest.approx(0.65)
    unknown = PrintedTable(("a", "b"), (column,), 3)
    assert [f.verdict for f in means_follow(unknown)] == ["consistent", "cannot be told"]


@pytest.mark.parametrize(
    ("accuracy", "supports", "verdict"),
    [
        ("0.650", (10, 30), "consistent"),
        ("0.500", (10, 30), "impossible"),
        ("0.500", (20, 20), "consistent"),
        ("0.500", None, "consistent"),
        ("0.810", None, "impossible"),
    ],
)
def test_accuracy_is_recall_by_support(accuracy: str, supports: tuple[int, ...] | None, verdict: str) -> None:
    recall = figures("0.200", "0.800")
    column = PrintedColumn("m", recall, recall, recall, {"accuracy": Decimal(accuracy)})
    assert accuracy_follows(PrintedTable(("a", "b"), (column,), 3, supports))[0].verdict == verdict


def test_predictions_all_too_many_without_supports() -> None:
    column = PrintedColumn("m", figures("0.5", "0.6"), figures("0.9", "0.8"), figures(None, None), {})
    assert predictions_follow(PrintedTable(("a", "b"), (column,), 1))[0].verdict == "impossible"
    swapped = PrintedColumn("m", figures("0.5", "0.8"), figures("0.9", "0.6"), figures(None, None), {})
    assert predictions_follow(PrintedTable(("a", "b"), (swapped,), 1))[0].verdict == "cannot be told"


def test_a_precision_near_zero_leaves_predictions_open() -> None:
    column = PrintedColumn("m", figures("0.0", "0.8"), figures("0.0", "0.6"), figures(None, None), {})
    assert predictions_follow(PrintedTable(("a", "b"), (column,), 1, (5, 5)))[0].verdict == "cannot be told"


def test_missing_columns_mean_fewer_checks_and_are_said() -> None:
    column = PrintedColumn("m", figures(None, None), figures("0.5", "0.6"), figures(None, "0.5"), {})
    table = PrintedTable(("a", "b"), (column,), 1, (5, 5))
    findings = [finding for check in CHECKS for finding in check(table)]
    assert {f.verdict for f in findings} == {"cannot be told"}
    assert any("Precision, recall or F1 is not printed" in f.sentence for f in findings)
    assert any("Accuracy is not printed" in f.sentence for f in findings)


def test_supports_that_do_not_add_up() -> None:
    column = PrintedColumn("m", figures("0.5"), figures("0.5"), figures("0.5"), {})
    assert supports_follow(PrintedTable(("a",), (column,), 1, (9,), 10))[0].verdict == "impossible"
    assert supports_follow(PrintedTable(("a",), (column,), 1, (10,), 10))[0].verdict == "consistent"


def test_spans_take_in_what_prints_so() -> None:
    tie, cut = Decimal("0.12"), 1e-12
    low, high = map(float, span(tie, 2, "rounded"))
    assert (low, high) == pytest.approx((0.115, 0.125))
    low, high = map(float, span(tie, 2, "truncated"))
    assert low == pytest.approx(0.12)
    assert 0.13 - cut < high < 0.13
    assert [float(end) for end in span(Decimal(1), 2)] == [0.995, 1.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ("a", "a")}, "classes must be different names, got a, a"),
        ({"supports": (1,)}, "supports must have one value for each of 2 classes, got 1"),
        ({"supports": (0, 0)}, "supports must hold an image"),
        ({"supports": (-1, 2)}, r"supports of a must be in \[0, 100000000\], got -1"),
        ({"training_counts": (5, 0)}, r"training_counts of b must be in \[1, .*got 0"),
        ({"decimals": 0}, r"decimals must be in \[1, 6\], got 0"),
        ({"test_images": 0}, r"test_images must be in \[1, .*got 0"),
        ({"columns": ()}, "must hold classes and columns, got 2 classes and 0 columns"),
    ],
)
def test_wrong_tables_are_refused(changed: dict[str, object], message: str) -> None:
    column = PrintedColumn("m", figures("0.5", "0.5"), figures("0.5", "0.5"), figures("0.5", "0.5"), {})
    with pytest.raises(InputError, match=message):
        PrintedTable(**({"classes": ("a", "b"), "columns": (column,), "decimals": 1} | changed))  # type: ignore[arg-type]


def test_macro_f1_may_be_that_of_the_mean_precision_and_recall() -> None:
    """Confusion [[9, 1], [8, 2]]: the mean F1 is 0.4871, and 2PR / (P + R) of 0.5980 and 0.5500 is 0.5730."""
    p, r, f1 = figures("0.529", "0.667"), figures("0.900", "0.200"), figures("0.667", "0.308")
    verdicts = {}
    for macro in ("0.487", "0.573", "0.530"):
        column = PrintedColumn("m", p, r, f1, {"macro_f1": Decimal(macro)})
        (found,) = means_follow(PrintedTable(("a", "b"), (column,), 3, (10, 10)))
        verdicts[macro] = found.verdict
    assert verdicts == {"0.487": "consistent", "0.573": "consistent", "0.530": "impossible"}
