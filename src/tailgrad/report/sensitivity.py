"""What a study could see: detectable differences, probabilities of improvement, ranks."""

from tailgrad.report.blocks import Block, Folded, Table, Text
from tailgrad.report.figures import rank_line
from tailgrad.report.folders import Fields
from tailgrad.report.wording import interval, metric_name, number, p_value, signed

_NOTE = (
    "Seen reliably: the smallest true difference that so many pairs with this spread find four times of "
    "five, at the level that the correction for the number of methods asks for. The spread is itself "
    "uncertain, with three pairs by half to six times. For this difference: how many pairs it takes if the "
    "difference found is the true one; a dash is more than 1000, or with splits of one folder no number at "
    "all. Probability of improvement: the share of pairs in which the method has the higher figure."
)
_OVERLAP = (
    "The splits overlap, and rank tests take them for independent: their p values are too small, and methods "
    "that no bar joins may still be equal."
)


def sensitivity_blocks(comparison: Fields, metric: str) -> tuple[Block, ...]:
    """Table of what each difference could show, and mean ranks; nothing for files that hold neither.

    Args:
        comparison: what ``comparison.json`` holds.
        metric: the headline.

    Example:
        >>> sensitivity_blocks({}, "macro_f1")
        ()
    """
    paired = comparison.get("paired", ())
    rows = [row for row in paired if row.get("metric", metric) == metric and "improvement" in row]
    table = (_table(rows, metric, str(comparison.get("unit", "seed"))), Text(_NOTE)) if rows else ()
    return (*table, *_ranks(comparison.get("ranks"), metric))


def _table(rows: list[Fields], metric: str, unit: str) -> Table:
    crossed = any("crossed" in row for row in rows)
    header = ("method", "difference", "seen reliably from", f"{unit}s for this difference")
    cells = tuple(
        (
            str(row["method"]),
            signed(row["mean"]),
            number(row["detectable"]),
            number(row["pairs_needed"], 0),
            number(row["improvement"]["value"], 2),
            interval(row["improvement"]["low"], row["improvement"]["high"]),
            *((_crossed(row.get("crossed")),) if crossed else ()),
        )
        for row in rows
    )
    last = (f"95 % over images crossed with {unit}s",) if crossed else ()
    caption = f"What {rows[0]['n']} {unit}s can see in {metric_name(metric)}"
    return Table(caption, (*header, "probability of improvement", "95 %", *last), cells)


def _crossed(found: Fields | None) -> str:
    return interval(None, None) if found is None else interval(found["low"], found["high"], sign=True)


def _ranks(ranks: Fields | None, metric: str) -> tuple[Block, ...]:
    if not ranks:
        return ()
    name = metric_name(metric)
    drawn = rank_line(name, ranks["mean_ranks"], ranks["cliques"], ranks["critical_difference"])
    friedman = f"Friedman's test that all methods are equal: p {_p(ranks['friedman_p'])}."
    rows = tuple(
        (f"{row['a']} / {row['b']}", p_value(row["p"]), p_value(row["p_holm"])) for row in ranks["pairs"]
    )
    pairs = Table("Wilcoxon's signed-rank test of every two methods", ("methods", "p", "p (Holm)"), rows)
    warning = () if ranks.get("independent", True) else (Text(_OVERLAP, strong=True),)
    return (drawn, Text(friedman), *warning, Folded("Every two methods by ranks", (pairs,)))


def _p(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"
