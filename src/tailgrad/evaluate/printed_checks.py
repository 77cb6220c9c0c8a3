"""Whether the figures of a printed table agree with one another, by intervals and without whole numbers.

A figure stands for every value that prints like it, rounded or truncated; a table is called impossible only
if no such values agree.
"""

from collections.abc import Sequence
from fractions import Fraction

from tailgrad.evaluate.finding import CONSISTENT, IMPOSSIBLE, UNKNOWN, Finding
from tailgrad.evaluate.printed_table import ROUNDED, TRUNCATED, PrintedColumn, PrintedTable, Span, span


def _f1(precision: Fraction, recall: Fraction) -> Fraction:
    return 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def _verdict(agrees: bool) -> str:
    return CONSISTENT if agrees else IMPOSSIBLE


def _untold(check: str, column: PrintedColumn, why: str) -> Finding:
    return Finding(check, UNKNOWN, why, column.name)


def f1_follows(table: PrintedTable) -> list[Finding]:
    """Whether ``F1 = 2PR / (P + R)`` of every class, one finding a column.

    Beside the verdict stands how many F1 follow from P and R as they are printed, if the last digit is
    rounded and if it is truncated.

    Example:
        >>> from decimal import Decimal
        >>> halves, wrong = (Decimal("0.50"),), (Decimal("0.60"),)
        >>> table = PrintedTable(("cat",), (PrintedColumn("m", halves, halves, wrong, {}),), 2)
        >>> print(f1_follows(table)[0])
        impossible: m, F1: 2PR / (P + R) does not give F1 0.60 of cat (0.50).
    """
    return [_f1_of(table, column) for column in table.columns]


def _f1_of(table: PrintedTable, column: PrintedColumn) -> Finding:
    if not column.has("precision", "recall", "f1"):
        return _untold("F1", column, "Precision, recall or F1 is not printed for every class.")
    spans = zip(*(table.spans(column, measure) for measure in ("precision", "recall", "f1")), strict=True)
    apart = [
        name
        for name, (p, r, f1) in zip(table.classes, spans, strict=True)
        if not f1.meets(Span(_f1(p.low, r.low), _f1(p.high, r.high)))
    ]
    numbers = {"classes_apart": apart, "classes": len(table.classes), **_as_printed(table, column)}
    if apart:
        return Finding("F1", IMPOSSIBLE, _wrong_f1(table, column, apart), column.name, numbers)
    sentence = (
        f"2PR / (P + R) gives every F1. Of {numbers['classes']}, the printed P and R give "
        f"{numbers[ROUNDED]} rounded, {numbers[TRUNCATED]} truncated."
    )
    return Finding("F1", CONSISTENT, sentence, column.name, numbers)


def _exact_f1(column: PrintedColumn) -> list[Fraction]:
    pairs = zip(column.precision, column.recall, strict=True)
    return [_f1(Fraction(p or 0), Fraction(r or 0)) for p, r in pairs]


def _as_printed(table: PrintedTable, column: PrintedColumn) -> dict[str, int]:
    """How many F1 are those of the printed P and R, by reading."""
    exact = list(zip(column.f1, _exact_f1(column), strict=True))
    return {
        reading: sum(span(f1, table.decimals, reading).meets(Span(value, value)) for f1, value in exact)
        for reading in (ROUNDED, TRUNCATED)
    }


def _wrong_f1(table: PrintedTable, column: PrintedColumn, apart: Sequence[str]) -> str:
    values = dict(zip(table.classes, zip(column.f1, _exact_f1(column), strict=True), strict=True))
    shown = [f"{values[name][0]} of {name} ({_short(values[name][1], table.decimals)})" for name in apart]
    more = f" and of {len(shown) - 3} more classes" if len(shown) > 3 else ""
    return f"2PR / (P + R) does not give F1 {', '.join(shown[:3])}{more}."


def _short(value: Fraction, decimals: int) -> str:
    return f"{float(value):.{decimals}f}"


def means_follow(table: PrintedTable) -> list[Finding]:
    """Whether every printed macro mean is the mean of its figures, and every weighted one theirs by support.

    A mean F1 may also be made as ``2PR / (P + R)`` of the mean precision and the mean recall.

    Example:
        >>> from decimal import Decimal
        >>> figures = (Decimal("0.50"), Decimal("0.70"))
        >>> column = PrintedColumn("m", figures, figures, figures, {"macro_f1": Decimal("0.65")})
        >>> print(means_follow(PrintedTable(("a", "b"), (column,), 2))[0])
        impossible: m, macro F1: It is 0.65 and the mean of the classes is 0.600.
    """
    return [
        _mean_of(table, column, name)
        for column in table.columns
        for name in column.means
        if name not in ("accuracy", "weighted_recall")
    ]


def _mean_of(table: PrintedTable, column: PrintedColumn, name: str) -> Finding:
    kind, measure = name.split("_")
    check = f"{kind} {measure}".replace("f1", "F1")
    weights = [1] * len(table.classes) if kind == "macro" else table.supports
    if weights is None or not column.has(measure):
        missing = "The supports are not known." if weights is None else f"Not every {measure} is printed."
        return _untold(check, column, missing)
    found = _compared(table, column, name, check, _weighted(table.spans(column, measure), weights))
    if found.verdict == IMPOSSIBLE and measure == "f1" and _is_f1_of_means(table, column, name, weights):
        sentence = f"{found.sentence} It is that of the mean precision and recall."
        return Finding(check, CONSISTENT, sentence, column.name, found.numbers)
    return found


def _is_f1_of_means(table: PrintedTable, column: PrintedColumn, name: str, weights: Sequence[int]) -> bool:
    """The other macro-F1 in use, after Sokolova and Lapalme (2009)."""
    if not column.has("precision", "recall"):
        return False
    p, r = (_weighted(table.spans(column, measure), weights) for measure in ("precision", "recall"))
    return Span(_f1(p.low, r.low), _f1(p.high, r.high)).meets(table.mean_span(column, name))


def _weighted(spans: Sequence[Span], weights: Sequence[int]) -> Span:
    whole = sum(weights)
    low, high = (sum(w * ends[i] for w, ends in zip(weights, spans, strict=True)) for i in (0, 1))
    return Span(Fraction(low) / whole, Fraction(high) / whole)


def _compared(table: PrintedTable, column: PrintedColumn, name: str, check: str, implied: Span) -> Finding:
    agrees = implied.meets(table.mean_span(column, name))
    middle = _middle(table, column, name)
    whose = "mean recall" if name == "accuracy" else "mean of the classes"
    if name == "accuracy" and len(set(table.supports or ())) > 1:
        whose = "recall weighted by support"
    shown = _short(middle, table.decimals_of(name) + 1)
    numbers: dict[str, float] = {
        "printed": float(column.means[name]),
        "implied": float(middle),
        "lowest": float(implied.low),
        "highest": float(implied.high),
        ROUNDED: table.mean_span(column, name, ROUNDED).meets(Span(middle, middle)),
        TRUNCATED: table.mean_span(column, name, TRUNCATED).meets(Span(middle, middle)),
    }
    cut = ", truncated" if numbers[TRUNCATED] and not numbers[ROUNDED] else ""
    sentence = f"It is {column.means[name]} and the {whose} is {shown}{cut}."
    return Finding(check, _verdict(agrees), sentence, column.name, numbers)


def _middle(table: PrintedTable, column: PrintedColumn, name: str) -> Fraction:
    """The mean of the figures as printed."""
    kind, measure = ("weighted", "recall") if name == "accuracy" else name.split("_")
    weights = [1] * len(table.classes) if kind == "macro" else list(table.supports or ())
    exact = [Fraction(figure or 0) for figure in column.figures(measure)]
    return sum((w * x for w, x in zip(weights, exact, strict=True)), Fraction(0)) / sum(weights)


def accuracy_follows(table: PrintedTable) -> list[Finding]:
    """Whether accuracy is the recall weighted by support; the mean recall where all supports are equal.

    Without supports, whether it lies between the lowest and the highest recall.

    Example:
        >>> from decimal import Decimal
        >>> figures = (Decimal("0.50"), Decimal("0.70"))
        >>> column = PrintedColumn("m", figures, figures, figures, {"accuracy": Decimal("0.65")})
        >>> print(accuracy_follows(PrintedTable(("a", "b"), (column,), 2, (50, 50)))[0])
        impossible: m, accuracy: It is 0.65 and the mean recall is 0.600.
    """
    return [_accuracy_of(table, column) for column in table.columns]


def _accuracy_of(table: PrintedTable, column: PrintedColumn) -> Finding:
    if "accuracy" not in column.means or not column.has("recall"):
        missing = (
            "Accuracy is not printed." if "accuracy" not in column.means else "Not every recall is printed."
        )
        return _untold("accuracy", column, missing)
    recalls = table.spans(column, "recall")
    if table.supports is not None:
        return _compared(table, column, "accuracy", "accuracy", _weighted(recalls, table.supports))
    ends = Span(min(recalls).low, max(r.high for r in recalls))
    agrees = ends.meets(table.mean_span(column, "accuracy"))
    figures = [figure for figure in column.recall if figure is not None]
    sentence = (
        f"It is {column.means['accuracy']}; the recalls go from {min(figures)} to {max(figures)}, "
        "and the supports are not known."
    )
    numbers = {
        "printed": float(column.means["accuracy"]),
        "lowest": float(ends.low),
        "highest": float(ends.high),
    }
    return Finding("accuracy", _verdict(agrees), sentence, column.name, numbers)


def predictions_follow(table: PrintedTable) -> list[Finding]:
    """Whether the predictions add up to the test images: ``sum_k n_k R_k / P_k = N``.

    Without supports: whether some class is predicted too often if another is too seldom.

    Example:
        >>> from decimal import Decimal
        >>> P, R = (Decimal("0.90"), Decimal("0.80")), (Decimal("0.50"), Decimal("0.40"))
        >>> table = PrintedTable(("a", "b"), (PrintedColumn("m", P, R, (None, None), {}),), 2, (50, 50))
        >>> print(predictions_follow(table)[0])
        impossible: m, predictions: Recall and precision imply 52.8 of 100 images (51.6 to 54.3).
    """
    return [_predictions_of(table, column) for column in table.columns]


def _predictions_of(table: PrintedTable, column: PrintedColumn) -> Finding:
    if not column.has("precision", "recall"):
        return _untold("predictions", column, "Precision or recall is not printed for every class.")
    spans = list(zip(table.spans(column, "recall"), table.spans(column, "precision"), strict=True))
    if table.supports is None:
        return _directions(column, spans)
    if any(p.low == 0 for _, p in spans):
        return _untold("predictions", column, "A precision near 0 leaves the predictions open.")
    return _added_up(table.supports, column, spans)


def _added_up(supports: Sequence[int], column: PrintedColumn, spans: Sequence[tuple[Span, Span]]) -> Finding:
    images, terms = sum(supports), list(zip(supports, spans, strict=True))
    low = sum((n * r.low / p.high for n, (r, p) in terms), Fraction(0))
    high = sum((n * r.high / p.low for n, (r, p) in terms), Fraction(0))
    pairs = zip(supports, column.recall, column.precision, strict=True)
    implied = sum(n * Fraction(r or 0) / Fraction(p or 1) for n, r, p in pairs)
    numbers = {"images": images, "implied": float(implied), "lowest": float(low), "highest": float(high)}
    digits = 0 if images >= 1000 else 1
    shown, least, most = (f"{float(value):,.{digits}f}" for value in (implied, low, high))
    sentence = f"Recall and precision imply {shown} of {images:,} images ({least} to {most})."
    return Finding("predictions", _verdict(low <= images <= high), sentence, column.name, numbers)


def _directions(column: PrintedColumn, spans: Sequence[tuple[Span, Span]]) -> Finding:
    """A class with R > P is predicted too often; not every class can be, and not every one too seldom."""
    often, seldom = all(r.low > p.high for r, p in spans), all(r.high < p.low for r, p in spans)
    if often or seldom:
        which = "above" if often else "below"
        sentence = f"Recall is {which} precision in every class, so the predictions cannot add up."
        return Finding("predictions", IMPOSSIBLE, sentence, column.name)
    sentence = "The supports are not known, so the predictions cannot be added up."
    return Finding("predictions", UNKNOWN, sentence, column.name)


def supports_follow(table: PrintedTable) -> list[Finding]:
    """Whether the supports add up to the test images, where both are printed.

    Example:
        >>> from decimal import Decimal
        >>> figures = (Decimal("0.5"),)
        >>> table = PrintedTable(("a",), (PrintedColumn("m", figures, figures, figures, {}),), 1, (9,), 10)
        >>> print(supports_follow(table)[0])
        impossible: supports: They add up to 9 and 10 test images are stated.
    """
    if table.supports is None or table.test_images is None:
        return []
    whole = sum(table.supports)
    sentence = f"They add up to {whole:,} and {table.test_images:,} test images are stated."
    numbers = {"sum": whole, "test_images": table.test_images}
    return [Finding("supports", _verdict(whole == table.test_images), sentence, "", numbers)]
