"""The blocks that compare methods over seeds, from what ``comparison.json`` holds."""

from collections.abc import Mapping
from typing import Any

from tailgrad.evaluate import ONE_SEED
from tailgrad.report.blocks import Block, Card, Folded, Table, Text
from tailgrad.report.figures import seed_dots
from tailgrad.report.folders import Fields
from tailgrad.report.sensitivity import sensitivity_blocks
from tailgrad.report.wording import interval, metric_name, number, p_value, signed

_MOST_CARDS = 3
_PAIRED_NOTE = (
    "A difference pairs runs of the same seed, or the means over the seeds of one split: method minus first "
    "method. Its interval and p value come from the spread of these differences; where splits are drawn "
    "anew, the interval is widened for the overlap of the training sets. p (Holm) is corrected for the "
    "number of methods. The verdict is 'better' or 'worse' only where the corrected p is below 0.05."
)
_ONE_SEED = (
    f"With one seed {ONE_SEED.removesuffix(' from one seed')}: another seed, another order. The figures "
    "below describe these runs, not the methods."
)


def comparison_cards(comparison: Fields) -> tuple[Card, ...]:
    """The headline figure of every method and its difference to the first one.

    Above three methods, only the first one's figure and the differences: the table holds the rest.

    Example:
        >>> row = {"method": "csba", "mean": 0.6, "low": None, "high": None, "n": 1}
        >>> [(card.label, card.note) for card in comparison_cards({"metric": "macro_f1", "rows": [row]})]
        [('macro-F1, csba', 'one seed: no interval')]
    """
    metric = _metric(comparison)
    rows = _rows(comparison, "rows", metric)
    shown = rows if len(rows) <= _MOST_CARDS else rows[:1]
    return (
        *(_mean_card(row, metric, str(comparison.get("unit", "seed"))) for row in shown),
        *(_difference_card(row) for row in _rows(comparison, "paired", metric)),
    )


def _mean_card(row: Fields, metric: str, unit: str) -> Card:
    ends = _share_interval(row)
    note = f"95 % over {row['n']} {unit}s: {ends}"
    if row["low"] is None:
        note = "one seed: no interval" if row["n"] == 1 else f"all {unit}s equal: no interval"
    return Card(f"{metric_name(metric)}, {row['method']}", number(row["mean"]), note)


def _difference_card(row: Fields) -> Card:
    ends = "" if row["low"] is None else f"95 %: {interval(row['low'], row['high'], sign=True)}; "
    return Card(f"{row['method']} minus {row['against']}", signed(row["mean"]), f"{ends}{row['verdict']}")


def comparison_blocks(comparison: Fields, seeds: int) -> tuple[Block, ...]:
    """Dots, tables and tests.

    Args:
        comparison: what ``comparison.json`` holds; empty while the study is not finished.
        seeds: the smallest number of finished runs of a method.

    Example:
        >>> comparison_blocks({}, seeds=1)[0].text.split(":")[0]
        'With one seed nothing can be concluded'
    """
    metric, *others = _metrics(comparison)
    rows = _rows(comparison, "rows", metric)
    warning = (Text(_ONE_SEED, strong=True),) if seeds == 1 else ()
    if not rows:
        return warning
    more = tuple(_method_table(comparison, other) for other in others)
    return (
        *warning,
        seed_dots(metric_name(metric), rows),
        _method_table(comparison, metric),
        Text(_PAIRED_NOTE),
        *sensitivity_blocks(comparison, metric),
        *((Folded("Other figures", more),) if more else ()),
        *_mcnemar(comparison),
    )


def _share_interval(row: Fields) -> str:
    """Cut to [0, 1], which a Student t interval knows nothing of."""
    low, high = row["low"], row["high"]
    return interval(None if low is None else max(0.0, low), None if high is None else min(1.0, high))


def _metric(comparison: Fields) -> str:
    return str(comparison.get("metric", "macro_f1"))


def _metrics(comparison: Fields) -> list[str]:
    found = (str(row.get("metric", _metric(comparison))) for row in comparison.get("rows", ()))
    return list(dict.fromkeys([_metric(comparison), *found]))


def _rows(comparison: Fields, key: str, metric: str) -> list[Fields]:
    rows = comparison.get(key, ())
    return [dict(row) for row in rows if row.get("metric", _metric(comparison)) == metric]


def _method_table(comparison: Fields, metric: str) -> Table:
    paired = {row["method"]: row for row in _rows(comparison, "paired", metric)}
    unit = comparison.get("unit", "seed")
    header = (
        "method",
        "mean",
        f"95 % over {unit}s",
        f"each {unit}",
        "difference",
        "95 %",
        "p",
        "p (Holm)",
        "verdict",
    )
    rows = tuple(
        (
            str(row["method"]),
            number(row["mean"]),
            _share_interval(row),
            "  ".join(number(value) for value in row["per_seed"]),
            *_difference(paired.get(row["method"])),
        )
        for row in _rows(comparison, "rows", metric)
    )
    return Table(f"{metric_name(metric)} on test images, differences to the first method", header, rows)


def _difference(row: Mapping[str, Any] | None) -> tuple[str, ...]:
    if row is None:
        return ("", "", "", "", "reference")
    ends = interval(row["low"], row["high"], sign=True)
    return (signed(row["mean"]), ends, p_value(row["p"]), p_value(row.get("p_holm")), str(row["verdict"]))


def _mcnemar(comparison: Fields) -> tuple[Block, ...]:
    found = comparison.get("mcnemar_seed0")
    if not found:
        return ()
    rows = tuple(
        (
            str(row["method"]),
            str(row["against"]),
            *(str(n) for n in row["images"].values()),
            p_value(row["p"]),
        )
        for row in found
    )
    header = ("method", "against", "only this right", "only the other right", "p")
    caption = "Exact McNemar test on the test images of the first seed: these two networks, not the methods"
    return (Folded("One pair of runs, image by image", (Table(caption, header, rows),)),)
