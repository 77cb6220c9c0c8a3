"""Whether whole numbers of images can print as a table does, in words."""

from typing import Any

from tailgrad.evaluate.finding import CONSISTENT, IMPOSSIBLE, UNKNOWN, Finding
from tailgrad.evaluate.integer_counts import Reconstruction, TableCounts, reconstruct
from tailgrad.evaluate.printed_table import EITHER, ROUNDED, TRUNCATED, PrintedTable

_SHOWN = 5
_WORDS = {
    (ROUNDED, True): "rounded",
    (TRUNCATED, True): "truncated",
    (EITHER, True): "some figures rounded, others truncated",
    (EITHER, False): "without F1 and means, which are checked on their own",
}


def counts_exist(table: PrintedTable, *, bound: int = 100) -> tuple[Finding, TableCounts | None]:
    """Whether some whole numbers of images give every figure at once, and the smallest if there is one.

    Four readings are tried, from the strictest: all figures rounded, all truncated, each either way, and F1
    and means made from the figures as printed.

    Args:
        table: the figures.
        bound: largest support of a class that is tried where nothing says how many there are.

    Returns:
        The finding, and the counts where they are unique but for multiples, else None. ``impossible`` is said
        only where the number of test images is known and every reading was searched to its end.

    Raises:
        InputError: a bound out of range.

    Example:
        >>> from decimal import Decimal
        >>> from tailgrad.evaluate.printed_table import PrintedColumn
        >>> third = (Decimal("0.33"), Decimal("0.33"))
        >>> column = PrintedColumn("m", third, third, third, {})
        >>> print(counts_exist(PrintedTable(("a", "b"), (column,), 2, (4, 4)))[0])
        impossible: counts: No whole numbers of 8 test images print as this table.
    """
    complete = True
    for (reading, use_f1), words in _WORDS.items():
        found = reconstruct(table, reading, bound=bound, use_f1=use_f1)
        if found.solutions:
            return _exist(table, found, words), found.unique
        complete &= found.complete
    return _missing(table, bound, complete), None


def _missing(table: PrintedTable, bound: int, complete: bool) -> Finding:
    numbers = {"complete": complete, "images": table.size, "bound": None if table.size else bound}
    if table.size is not None and complete:
        sentence = f"No whole numbers of {table.size:,} test images print as this table."
        return Finding("counts", IMPOSSIBLE, sentence, "", numbers)
    if complete:
        sentence = f"No test set with up to {bound} images a class prints so; a larger one may."
    else:
        sentence = "The search gave up before it found whole numbers; give supports to narrow it."
    return Finding("counts", UNKNOWN, sentence, "", numbers)


def _exist(table: PrintedTable, found: Reconstruction, words: str) -> Finding:
    numbers: dict[str, Any] = {
        "reading": words,
        "complete": found.complete,
        "bound": found.bound,
        "unique": found.unique.to_dict() if found.unique else None,
        "solutions": [one.to_dict() for one in found.solutions[:_SHOWN]],
        "number": len(found.solutions),
    }
    which = _only(table, found, found.unique) if found.unique else _several(found)
    sentence = f"Whole numbers print as this table ({words}){which}"
    return Finding("counts", CONSISTENT, sentence, "", numbers)


def _only(table: PrintedTable, found: Reconstruction, counts: TableCounts) -> str:
    right = " and ".join(str(sum(column.true_positive)) for column in counts.columns)
    supports = "" if table.supports else f" {'/'.join(map(str, counts.supports))} ="
    if len(found.solutions) == 1:
        others = "No others do" + ("." if found.bound is None else f" up to {found.bound} a class.")
    else:
        others = f"The only others up to {found.bound} a class are its multiples."
    return f":{supports} {counts.images} images, {right} right. {others}"


def _several(found: Reconstruction) -> str:
    number = str(len(found.solutions)) if found.complete else f"{len(found.solutions)} or more"
    smallest = "" if found.bound is None else f", the smallest of {found.solutions[0].images} images"
    return f", in {number} ways{smallest}."
