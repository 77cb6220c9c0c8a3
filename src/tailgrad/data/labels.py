"""From whatever a label column holds to class indices and class names."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, nearest


def class_indices(
    values: Sequence[object], names: Sequence[str] = (), where: Callable[[int], str] = "item {}".format
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Turn labels into class indices.

    Names given and integer labels: the labels index the names. No names given and integers (or text that
    is all integers): consecutive integers are classes of that name, in numeric order. Anything else: text,
    classes in sorted order.

    Args:
        values: N labels: integers or text.
        names: class names, where the source knows them.
        where: what to call item i in an error.

    Returns:
        Class indices [N] int64 and the K class names.

    Raises:
        InputError: a label that is blank, out of range, or after a gap in the integers.

    Example:
        >>> labels, names = class_indices(["dog", "cat", "dog"])
        >>> labels.tolist(), names
        ([1, 0, 1], ('cat', 'dog'))
    """
    text = [_text(value, where(i)) for i, value in enumerate(values)]
    named_text = names and any(isinstance(value, str) for value in values)
    if not named_text and all(is_integer(t) for t in text):
        return _from_integers([int(t) for t in text], tuple(names), where)
    return _from_text(text, tuple(names) or tuple(sorted(set(text))), where)


def _from_text(
    text: list[str], names: tuple[str, ...], where: Callable[[int], str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    index = {name: k for k, name in enumerate(names)}
    for i, t in enumerate(text):
        if t not in index:
            raise InputError(
                f"label of {where(i)} must be one of {len(names)} class names, got {t!r}; {nearest(t, names)}"
            )
    return np.array([index[t] for t in text], dtype=np.int64), names


def _text(value: object, place: str) -> str:
    text = "" if value is None or value != value else str(value).strip()  # NaN differs from itself
    if not text:
        raise InputError(f"label of {place} must not be blank, got {value!r}; fill it in or remove the row")
    return text


def is_integer(text: str) -> bool:
    """Whether a label in text is a number.

    Example:
        >>> is_integer("10"), is_integer("007")
        (True, False)
    """
    return re.fullmatch("0|-?[1-9][0-9]{0,17}", text) is not None  # 007 is a name: its zeros mean something


def _from_integers(
    values: list[int], names: tuple[str, ...], where: Callable[[int], str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    low = 0 if names else max(min(values, default=0), 0)
    present = set(values)
    high = low
    while high in present:
        high += 1
    high = len(names) if names else high
    for i, value in enumerate(values):
        if not low <= value < high:
            raise InputError(
                f"label of {where(i)} must lie in {low} ... {high - 1}, got {value}; number the classes "
                "without gaps, or write class names"
            )
    return np.array(values, dtype=np.int64) - low, names or tuple(str(k) for k in range(low, high))
