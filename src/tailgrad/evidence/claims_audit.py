"""Can a printed table be true, and how much does it show?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.evaluate.cosine_bounds import cosine_matrix_possible, mean_cosine_possible
from tailgrad.evaluate.finding import CONSISTENT, IMPOSSIBLE, UNKNOWN, Finding
from tailgrad.evaluate.integer_counts import TableCounts
from tailgrad.evaluate.printed_checks import (
    accuracy_follows,
    f1_follows,
    means_follow,
    predictions_follow,
    supports_follow,
)
from tailgrad.evaluate.printed_counts import counts_exist
from tailgrad.evaluate.printed_gain import class_f1, gain_of_class, gain_overall, gain_without_best
from tailgrad.evaluate.printed_parameters import parameters_follow
from tailgrad.evaluate.printed_profile import profile_follows
from tailgrad.evaluate.printed_table import PrintedTable
from tailgrad.evidence.table_file import ABOUT, printed_table, read_table

_OF_PARAMETERS = ("before", "after", "added", "increase")
"""What may be stated of a network's parameters: two printed totals in millions, and what lies between."""


@dataclass(frozen=True, slots=True)
class ClaimsAudit:
    """What was found about a printed table.

    Args:
        title: the table.
        about: paper, table number and status, as far as given.
        table: one finding a question on whether the table can be true.
        gain: findings on whether the last column is better than the first; none for an impossible table.
        parameters: findings on numbers of parameters printed elsewhere; the table is not judged by them.

    Example:
        >>> ClaimsAudit("Table 1", {}, (Finding("counts", "consistent", "They fit."),), ()).verdict
        'consistent'
    """

    title: str
    about: Mapping[str, str]
    table: tuple[Finding, ...]
    gain: tuple[Finding, ...]
    parameters: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> str:
        """``impossible`` if any finding is, ``consistent`` if whole numbers fit, else ``cannot be told``."""
        verdicts = [finding.verdict for finding in self.table]
        if IMPOSSIBLE in verdicts:
            return IMPOSSIBLE
        counted = any(one.check == "counts" and one.verdict == CONSISTENT for one in self.table)
        return CONSISTENT if counted else UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return {
            "title": self.title,
            **self.about,
            "verdict": self.verdict,
            "table": [finding.to_dict() for finding in self.table],
            "gain": [finding.to_dict() for finding in self.gain],
            "parameters": [finding.to_dict() for finding in self.parameters],
        }

    def __str__(self) -> str:
        source = ", ".join(
            text for text in (self.about.get("paper"), f"table {self.about.get('table', '?')}") if text
        )
        lines = [f"{self.title} ({source})" if "paper" in self.about else self.title]
        findings = sorted(self.table, key=lambda one: one.verdict != IMPOSSIBLE)  # contradictions first
        lines += ["", f"Can it be true? {self.verdict}", *map(str, findings)]
        if self.gain:
            lines += ["", "Is the last column better than the first?", *map(str, self.gain)]
        if self.parameters:
            lines += ["", "Do the printed numbers of parameters agree?", *map(str, self.parameters)]
        return "\n".join(lines)


def audit_claims(
    source: str | Path | Mapping[str, Any],
    *,
    accuracy: Sequence[str | float] = (),
    percent: bool = False,
    test_images: int | None = None,
    decimals: int | None = None,
    bound: int = 100,
) -> ClaimsAudit:
    """Whether a printed table of precision, recall and F1 can be true, and what its gain is worth.

    Figures may be rounded or truncated; a table is called impossible only where no such reading allows it.

    Args:
        source: name of a packaged table, a YAML, JSON or CSV file, or the content of one.
        accuracy: accuracy of each column, in their order, where the file does not hold it.
        percent: whether the figures are in percent.
        test_images: their number, where the file does not hold it.
        decimals: digits after the point, where the file lacks them; else the most that a figure shows.
        bound: largest support of a class that is tried where nothing says how many images there are.

    Raises:
        InputError: the file, a key or a figure is wrong.

    Example:
        >>> found = audit_claims("csba-pv")
        >>> found.verdict, found.table[0].numbers["unique"]["supports"]
        ('consistent', (40, 41, 44, 19, 13, 25))
    """
    content = dict(source) if isinstance(source, Mapping) else read_table(source)
    given = {"test_images": test_images, "decimals": decimals, "percent": percent or None}
    content |= {key: value for key, value in given.items() if value is not None}
    content = _with_accuracy(content, accuracy)
    table = printed_table(content)
    counted, counts = counts_exist(table, bound=bound)
    known = table if counts is None else replace(table, supports=counts.supports)
    findings = (counted, *_agreement(known), *_beside(content, table))
    possible = IMPOSSIBLE not in [finding.verdict for finding in findings]
    about = {key: str(content[key]) for key in ABOUT if key in content}
    title = about.pop("title", "table" if isinstance(source, Mapping) else str(source))
    gain = tuple(_gain(table, counts)) if possible else ()
    return ClaimsAudit(title, about, findings, gain, tuple(_parameters(content.get("parameters"))))


def _with_accuracy(content: dict[str, Any], accuracy: Sequence[str | float]) -> dict[str, Any]:
    columns = content.get("columns")
    if not accuracy or not isinstance(columns, Mapping):
        return content
    if len(accuracy) != len(columns):
        raise InputError(
            f"accuracy must be given for each of {len(columns)} columns ({', '.join(map(str, columns))}), "
            f"got {len(accuracy)}; repeat it in their order"
        )
    pairs = zip(columns.items(), accuracy, strict=True)
    own = {
        name: {**column, "accuracy": value} if isinstance(column, Mapping) else column
        for (name, column), value in pairs
    }
    return {**content, "columns": own}


def _agreement(table: PrintedTable) -> list[Finding]:
    checks = (supports_follow, f1_follows, means_follow, accuracy_follows, predictions_follow)
    return [finding for check in checks for finding in check(table)]


def _beside(content: Mapping[str, Any], table: PrintedTable) -> Iterator[Finding]:
    """What may be printed beside the figures: training counts, cosines."""
    if content.get("profile") is not None:
        one_of("profile", str(content["profile"]), ["exponential"])
        if table.training_counts is None:
            raise InputError("profile must come with training_counts, got none; write them")
        yield profile_follows(table.classes, table.training_counts)
    if content.get("cosine_matrix") is not None:
        matrix = content["cosine_matrix"]
        yield from cosine_matrix_possible(matrix, _half_unit(matrix))
    if content.get("mean_cosine") is not None:
        mean = content["mean_cosine"]
        error = _half_unit([[mean]])
        yield mean_cosine_possible(float(mean), len(table.classes), error)


def _parameters(stated: Any) -> Iterator[Finding]:
    """What is said of each network beside its number of parameters, against that number."""
    if stated is None:
        return
    if not isinstance(stated, Mapping) or not all(isinstance(one, Mapping) for one in stated.values()):
        raise InputError(
            f"parameters must be a mapping by network, each with before, after, and added or increase, got "
            f"{str(stated)[:40]!r}; write it so"
        )
    for name, one in stated.items():
        for key in one:
            one_of(f"key of parameters, {name}", str(key), _OF_PARAMETERS)
        if "before" not in one or "after" not in one or not {"added", "increase"} & set(one):
            raise InputError(
                f"parameters of {name} must have before, after, and added or increase, got {', '.join(one)}; "
                "add what is missing"
            )
        added = None if one.get("added") is None else _added(name, one["added"])
        increase = None if one.get("increase") is None else str(one["increase"])
        found = parameters_follow(str(one["before"]), str(one["after"]), added=added, increase=increase)
        yield from (replace(finding, check=f"{name}, {finding.check}") for finding in found)


def _added(network: str, stated: Any) -> int:
    if isinstance(stated, bool) or in_range(f"added of {network}", stated, 0) % 1:
        raise InputError(
            f"added of {network} must be a whole number of parameters, got {stated}; count single "
            "weights, not layers or millions"
        )
    return int(stated)


def _half_unit(matrix: Any) -> float:
    """Half a unit of the last digit that any entry shows."""
    try:
        shown = [Decimal(str(entry)).as_tuple().exponent for row in matrix for entry in row]
        return 0.5 * 10.0 ** min(0, *map(int, shown))
    except (ArithmeticError, TypeError, ValueError) as error:
        raise InputError(
            f"cosines must be numbers, a list of K a class, got {str(matrix)[:40]}; correct them"
        ) from error


def _gain(table: PrintedTable, counts: TableCounts | None) -> Iterator[Finding]:
    """What two columns show: from whole numbers where these are unique, else from the printed F1."""
    if len(table.columns) < 2:
        return
    if counts is None:
        yield from _printed_gain(table)
        return
    before, after = (class_f1(counts.supports, counts.columns[i]) for i in (0, -1))
    best = max(range(len(before)), key=lambda k: after[k] - before[k])
    correct = (counts.columns[i].true_positive[best] for i in (0, -1))
    if len(table.classes) > 1:
        yield gain_without_best(table.classes, before, after)
    yield gain_of_class(table.classes[best], counts.supports[best], *correct)
    yield gain_overall(counts.supports, counts.columns[0], counts.columns[-1])


def _printed_gain(table: PrintedTable) -> Iterator[Finding]:
    first, last = table.columns[0], table.columns[-1]
    if first.has("f1") and last.has("f1") and len(table.classes) > 1:
        before, after = ([float(figure or 0) for figure in column.f1] for column in (first, last))
        yield gain_without_best(table.classes, before, after)
    yield Finding("recall gain", UNKNOWN, "Without unique whole numbers nothing can be tested.")
