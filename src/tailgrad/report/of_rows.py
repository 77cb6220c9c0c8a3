"""The same words for rows of a table as for images."""

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

_SAID = {
    "an image": "a row",
    "An image": "A row",
    "image": "row",
    "images": "rows",
    "Image": "Row",
    "Images": "Rows",
}
_WORDS = "|".join(sorted(_SAID, key=len, reverse=True))


def in_rows(told: T, names: Iterable[str]) -> T:
    """Texts about images, as texts about rows; names, settings and options that hold the word stay.

    Args:
        told: a text, or anything made of dataclasses, tuples, lists and dictionaries that hold texts.
        names: of classes, methods and whatever else is quoted.

    Returns:
        The same, with "row" for "image" in every text.

    Example:
        >>> in_rows(("3 images of spy images", "one an image", "report.images"), ["spy images"])
        ('3 rows of spy images', 'one a row', 'report.images')
    """
    quoted = "|".join(re.escape(name) for name in sorted(set(names), key=len, reverse=True) if "mage" in name)
    either = f"(?P<name>{quoted})|{_WORDS}" if quoted else _WORDS
    return _said(told, re.compile(rf"(?<![\w.\-])(?:{either})(?![\w=\-])"))


def _said(told: T, words: re.Pattern[str]) -> T:
    found: Any = told
    if isinstance(told, str):
        found = words.sub(_word, told)
    elif is_dataclass(told) and not isinstance(told, type):
        found = replace(told, **{one.name: _said(getattr(told, one.name), words) for one in fields(told)})
    elif isinstance(told, tuple | list):
        found = type(told)(_said(one, words) for one in told)
    elif isinstance(told, dict):
        found = {key: _said(value, words) for key, value in told.items()}
    return found  # type: ignore[no-any-return]


def _word(found: re.Match[str]) -> str:
    return found[0] if found.groupdict().get("name") else _SAID[found[0]]
