"""Argument errors that name the argument, what was wanted, what came, and the remedy."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from numbers import Real
from pathlib import Path

_MOST_OPTIONS, _LONGEST = 10_000, 100


class InputError(ValueError):
    """Bad input from a user. The command line prints its message and exits with status 2.

    Example:
        >>> raise InputError("epochs must be at least 1, got 0; train for one epoch or more")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: epochs must be at least 1, got 0; train for one epoch or more
    """


def nearest(name: str, options: Iterable[str]) -> str:
    """A hint naming the option most like ``name``, else all of them (up to 20).

    Example:
        >>> nearest("csab", ["baseline", "csba"])
        "did you mean 'csba'?"
        >>> nearest("xyz", ["baseline", "csba"])
        'choose from baseline, csba'
    """
    names = list(options)
    # Comparing takes the product of the lengths: what a file brings may be of any.
    comparable = [option for option in names[:_MOST_OPTIONS] if len(option) <= _LONGEST]
    close = difflib.get_close_matches(name[:_LONGEST].lower(), comparable, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", ..." if len(names) > 20 else ""
    return f"choose from {', '.join(option[:_LONGEST] for option in names[:20])}{more}"


def nearest_path(path: Path, options: Iterable[str]) -> str:
    """As ``nearest``; where no option is like it, a file or folder beside it that is.

    Example:
        >>> nearest_path(Path("no/such/folder"), ["digits-lt"])
        'choose from digits-lt'
    """
    hint = nearest(str(path), options)
    if hint.startswith("did you mean"):
        return hint
    try:
        beside = [found.name for found in islice(path.parent.iterdir(), _MOST_OPTIONS)]
    except OSError:
        beside = []
    # By name alone: whole paths are alike in the folders that they share.
    close = difflib.get_close_matches(path.name[:_LONGEST], beside, n=1, cutoff=0.6)
    return f"did you mean {str(path.parent / close[0])!r}?" if close else hint


def one_of(argument: str, value: str, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``options``.

    Raises:
        InputError: it is not; the nearest option is named.

    Example:
        >>> one_of("head", "csab", ["baseline", "csba"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: head must be a known name, got 'csab'; did you mean 'csba'?
    """
    names = list(options)
    if value not in names:
        raise InputError(f"{argument} must be a known name, got {value!r}; {nearest(str(value), names)}")
    return value


def in_range(
    argument: str, value: float, low: float, high: float = math.inf, *, exclusive: bool = False
) -> float:
    """Return ``value`` if it is finite and within [low, high] (or strictly between them).

    Raises:
        InputError: it is outside, or NaN.

    Example:
        >>> in_range("dropout", 0.5, 0, 1)
        0.5
    """
    number: object = value
    if not isinstance(number, Real):
        raise InputError(f"{argument} must be a number, got {value!r}; give one")
    inside = low < value < high if exclusive else low <= value <= high
    if not (inside and math.isfinite(value)):
        interval = f"({low}, {high})" if exclusive else f"[{low}, {high}]"
        raise InputError(f"{argument} must be in {interval}, got {value}; choose a value inside")
    return value


def positive_counts(class_counts: Sequence[int], argument: str = "class_counts") -> tuple[int, ...]:
    """Return the counts as integers if every one is positive and whole (2.0 is, 2.5 is not).

    Raises:
        InputError: a count is zero, negative, not finite or not whole, or there are none.

    Example:
        >>> positive_counts([100, 0], "counts")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: counts must be positive, got counts[1]=0; drop the class or merge it
    """
    if isinstance(class_counts, Mapping) or not hasattr(class_counts, "__len__"):
        raise InputError(
            f"{argument} must be a list with one count a class, in class order, got "
            f"{str(class_counts)[:80]}; give [counts[k] for k in range(K)]"
        )
    if len(class_counts) == 0:
        raise InputError(f"{argument} must hold one count a class, got {class_counts}; count the labels")
    for k, n in enumerate(class_counts):
        if not (math.isfinite(float(n)) and n > 0):
            raise InputError(
                f"{argument} must be positive, got {argument}[{k}]={n}; drop the class or merge it"
            )
        if n != int(n):
            raise InputError(
                f"{argument} must be whole numbers, got {argument}[{k}]={n}; count the examples of the class"
            )
    return tuple(int(n) for n in class_counts)
