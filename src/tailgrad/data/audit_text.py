"""An audit as text for a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailgrad.data.audit import Audit, Copies, GroupCount
    from tailgrad.data.label_audit import LabelFacts
    from tailgrad.data.table_audit import TableFacts

_SHOWN = 10
"""Lines of one list before the rest is only counted."""

_ROW, _WIDTH = 4, 60
"""Names of one group, and characters of one name, before the rest is cut."""


def audit_text(audit: "Audit") -> str:
    """The findings as plain lines; long lists are cut, long names shortened.

    Names lose their control characters, which could rewrite a terminal.

    Example:
        >>> from tailgrad.data.audit import audit
        >>> print(audit_text(audit("digits-lt")).splitlines()[0])
        digits-lt: 1797 images, 10 classes, imbalance factor 1.1
    """
    return "\n".join(_lines(audit))


def _lines(audit: "Audit") -> Iterator[str]:
    yield (
        f"{_plain(audit.source)}: {audit.images} {noun(audit)}s, {len(audit.classes)} {kinds(audit)}, "
        f"imbalance factor {audit.imbalance_factor:.1f}"
    )
    yield ""
    yield from _classes(audit)
    if audit.labels is not None:
        yield from _labels(audit.labels)
    yield from _files(audit) if audit.table is None else _columns(audit.table)
    yield ""
    yield from _duplicates(audit)
    yield from _copies("Copies with different labels", audit.conflicts)
    if audit.parts:
        yield from _copies("Copies in different parts of the given split", audit.leakage)
    yield ""
    yield "What to do"
    yield from (f"  {i}. {text}" for i, text in enumerate(audit.recommendation, start=1))


def _classes(audit: "Audit") -> Iterator[str]:
    width = max(len(_plain(name)) for name in audit.classes)
    for name, n in sorted(audit.classes.items(), key=lambda item: -item[1])[: 2 * _SHOWN]:
        yield f"  {_plain(name):{width}}  {n:7d}  {n / audit.images:6.1%}"
    if len(audit.classes) > 2 * _SHOWN:
        yield f"  and {len(audit.classes) - 2 * _SHOWN} more, down to {min(audit.classes.values())}"


def noun(audit: "Audit") -> str:
    """What one item is: ``image`` or ``row``.

    Example:
        >>> from tailgrad.data.audit import audit
        >>> noun(audit("wine-lt"))
        'row'
    """
    return "image" if audit.table is None else "row"


def kinds(audit: "Audit") -> str:
    """What images are told apart by: ``classes``, or ``labels`` where they have several.

    Example:
        >>> from tailgrad.data.audit import audit
        >>> kinds(audit("digits-lt"))
        'classes'
    """
    return "classes" if audit.labels is None else "labels"


def _labels(labels: "LabelFacts") -> Iterator[str]:
    yield (
        f"Labels an image: {labels.cardinality:.2f} on average, at most {labels.most}, in {labels.sets} "
        "different sets"
    )
    yield f"Images without a label: {labels.without or 'none'}"
    yield f"The most frequent label has {labels.mean_imbalance:.1f} times the images of another, on average"
    pairs = [
        f"{_plain(a)} and {_plain(b)}: {n} images with both, {share:.0%} of those with either"
        for a, b, n, share in labels.together
    ]
    yield from _list("Labels that seldom come alone", pairs)


def _columns(table: "TableFacts") -> Iterator[str]:
    yield f"Classes in column {_plain(table.target)!r}"
    yield f"Numeric columns: {len(table.numbers)}"
    sizes = [f"{_plain(name)} ({n})" for name, n in table.categories.items()]
    yield from _list("Columns of categories", sizes)
    yield from _list("Without a value", [f"{_plain(name)}: {n} rows" for name, n in table.missing.items()])
    yield from _list("Of one value, dropped", [_plain(name) for name in table.constant])
    yield from _list("Odd", list(table.remarks))


def _files(audit: "Audit") -> Iterator[str]:
    if audit.sizes is not None:
        sizes = audit.sizes
        small, middle, large = (f"{h} x {w}" for h, w in (sizes.smallest, sizes.median, sizes.largest))
        yield f"Sizes (height x width): {small} to {large}, median {middle}, {sizes.distinct} different"
        low, half, high = sizes.aspect
        yield f"Width / height: {low:.2f} to {high:.2f}, median {half:.2f}"
    yield "Formats: " + ", ".join(f"{name} {n}" for name, n in audit.formats.items())
    parts = ", ".join(f"{name} {n}" for name, n in audit.parts.items())
    yield f"Given split: {parts or 'none'}"
    yield from _list("Unreadable", [f"{_plain(name)}: {_plain(why)}" for name, why in audit.unreadable])
    yield from _list("Passed over", [_plain(name) for name in audit.ignored])


def _duplicates(audit: "Audit") -> Iterator[str]:
    yield f"Exact duplicates: {_counted(audit.exact, noun(audit))}"
    if not audit.near_searched:
        yield "Near duplicates: not looked for"
        return
    yield f"Groups joined by near duplicates: {_counted(audit.near)}"
    yield f"Duplicates in all: {_counted(audit.duplicates)}"
    yield from (f"  {_row(copies)}" for copies in audit.near.examples or audit.exact.examples)


def _counted(count: "GroupCount", item: str = "image") -> str:
    if not count.groups:
        return "none"
    groups = "group" if count.groups == 1 else "groups"
    items = "files" if item == "image" else f"{item}s"
    return f"{count.groups} {groups}, {count.files} {items}, largest {count.largest}"


def _copies(title: str, found: Sequence["Copies"]) -> Iterator[str]:
    yield from _list(title, [_row(copies) for copies in found])


def _row(copies: "Copies") -> str:
    """Names, each with the class and part by which it differs from the others."""
    # One item of every class and part first, so that the cut cannot hide a difference.
    kinds = list(zip(copies.classes, copies.parts, strict=True))
    order = sorted(range(len(kinds)), key=lambda i: (kinds.index(kinds[i]) != i, i))
    marks = [mark for mark in (copies.classes, copies.parts) if len(set(mark)) > 1]
    rows = []
    for i in order[:_ROW]:
        said = ", ".join(_plain(mark[i]) or "no part" for mark in marks)
        rows.append(_plain(copies.names[i]) + (f" ({said})" if said else ""))
    more = f", and {len(copies.names) - _ROW} more" if len(copies.names) > _ROW else ""
    return ("same: " if copies.exact else "near: ") + ", ".join(rows) + more


def _list(title: str, rows: Sequence[str]) -> Iterator[str]:
    yield f"{title}: {len(rows) or 'none'}"
    yield from (f"  {row}" for row in rows[:_SHOWN])
    if len(rows) > _SHOWN:
        yield f"  and {len(rows) - _SHOWN} more"


def _plain(text: str) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= _WIDTH else shown[: _WIDTH - 3] + "..."
