"""Class frequencies at the place of use, and the shift of the logits that they ask for."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, nearest
from tailgrad.untrusted import MAX_YAML, json_text, parse_json, parse_yaml, read_text, yaml_text

Frequencies = str | Path | Mapping[str, float] | Sequence[float]
_OFF = 0.005
_NEVER = -1e4
_NUMBERS = (int, float, np.integer, np.floating)
_MARK = "\ufeff"  # of a text in UTF-8, which spreadsheets write


def target_prior(given: Frequencies, names: Sequence[str], counts: Sequence[int]) -> tuple[float, ...]:
    """The frequency of each class at the place of use, in class order.

    Args:
        given: a mapping from class to frequency; K frequencies; text, ``"a=0.7,b=0.3"``; ``"uniform"``, over
            the classes that were trained on; ``"train"``, those of the training images; or a YAML, JSON or
            CSV file (columns ``class`` and ``frequency``).
        names: K class names.
        counts: training images of each.

    Raises:
        InputError: a class is unknown or missing, the frequencies do not sum to 1 (to 0.005), or one is
            negative; there are no training images for a word to count.

    Example:
        >>> target_prior("cat=0.7,dog=0.3", ["cat", "dog"], [9, 1])
        (0.7, 0.3)
        >>> target_prior("uniform", ["cat", "dog"], [9, 1])
        (0.5, 0.5)
    """
    if isinstance(given, str) and given in ("uniform", "train"):
        return _of_training(given, counts)
    if isinstance(given, Path | str):
        given = _read(str(given), names)
    if isinstance(given, Mapping):
        given = _in_order(given, names)
    return _checked(_listed(given), names)


def prior_shift(prior: Sequence[float] | None, target: Sequence[float]) -> NDArray[np.float64]:
    """``log(target_k / prior_k)`` [K], to be added to logits that stand for ``prior``.

    Where ``target_k`` is 0 it is -10,000, which leaves no probability and stays a number.

    Args:
        prior: what the logits stand for, by the ledger; None where it is not known.
        target: frequencies at the place of use.

    Raises:
        InputError: the prior is not known, or a class without training images is to occur.

    Source: Bayes' rule for a changed prior (label shift).

    Example:
        >>> prior_shift([0.5, 0.5], [0.8, 0.2]).round(3).tolist()
        [0.47, -0.916]
    """
    if prior is None:
        raise InputError(
            "target_prior must start from a known prior, got a run whose result holds no ledger; train it "
            "again with this version"
        )
    before, after = np.asarray(prior, np.float64), np.asarray(target, np.float64)
    for k in np.flatnonzero((before <= 0) & (after > 0)):
        raise InputError(
            f"target_prior must be 0 for classes without training images, got {after[k]:g} for class {k}; "
            "train with images of it"
        )
    occurs = after > 0
    shift = np.full(len(after), _NEVER)
    shift[occurs] = np.log(after[occurs]) - np.log(before[occurs])
    return shift


def _of_training(word: str, counts: Sequence[int]) -> tuple[float, ...]:
    shares = np.asarray(counts, np.float64)
    if not shares.sum() > 0:
        raise InputError(
            f"target_prior must be given class by class, got {word!r} for a model without counts of training "
            "images; write class=frequency,..."
        )
    if word == "uniform":
        shares = (shares > 0).astype(np.float64)
    return tuple((shares / shares.sum()).tolist())


def _read(text: str, names: Sequence[str]) -> Mapping[str, Any] | Sequence[Any]:
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml", ".json", ".csv"):
        return _of_file(path, suffix)
    if "=" not in text:
        raise InputError(
            "target_prior must be uniform, train, class=frequency,... or a YAML, JSON or CSV file, got "
            f"{text[:80]!r}; as in {names[0]}=0.9,{names[-1]}=0.1"
        )
    found: dict[str, float] = {}
    begun = ""
    for part in text.split(","):
        begun += part
        if "=" in part:
            name, _, value = begun.rpartition("=")
            _add(found, name.strip(), value)
            begun = ""
        else:  # names may have commas
            begun += ","
    if begun:
        _add(found, begun.removesuffix(","), "")
    return found


def _of_file(path: Path, suffix: str) -> Mapping[str, Any] | Sequence[Any]:
    try:
        if suffix == ".csv":
            return _of_csv(path)
        found = _of_json(path) if suffix == ".json" else parse_yaml(yaml_text(path))
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        remedy = "check the path" if isinstance(error, OSError) else "correct it"
        raise InputError(f"target_prior must be a readable file, got {path}: {error}; {remedy}") from error
    if not isinstance(found, dict | list):
        raise InputError(
            f"target_prior must map classes to frequencies, got {type(found).__name__} in {path}; write "
            "class: frequency"
        )
    if isinstance(found, dict):
        return {name: _number(value) for name, value in found.items()}
    return [_number(value) for value in found]


def _number(value: Any) -> Any:
    """The number that a text is: YAML reads ``1e-3``, without a point, as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _of_json(path: Path) -> Any:
    return parse_json(json_text(path).removeprefix(_MARK))


def _of_csv(path: Path) -> dict[str, float]:
    text = io.StringIO(read_text(path, MAX_YAML).removeprefix(_MARK), newline="")
    rows = list(csv.reader(text, strict=True))
    if not rows or [cell.strip() for cell in rows[0]] != ["class", "frequency"]:
        raise InputError(
            f"target_prior must have the columns class and frequency, got {rows[:1]} in {path}; write that "
            "header"
        )
    found: dict[str, float] = {}
    for row in filter(any, rows[1:]):
        if len(row) != 2:
            raise InputError(f"target_prior must have two fields a row, got {row} in {path}; correct it")
        _add(found, *row)
    return found


def _add(found: dict[str, float], name: str, value: str) -> None:
    if name in found:
        raise InputError(f"target_prior must name a class once, got {name!r} twice; leave one out")
    try:
        found[name] = float(value)
    except ValueError as error:
        raise InputError(
            f"target_prior must hold class=frequency, got {name!r}={value!r}; give a number"
        ) from error


def _in_order(mapping: Mapping[Any, Any], names: Sequence[str]) -> list[Any]:
    given: dict[Any, Any] = {}
    for key, value in mapping.items():
        name = str(key) if isinstance(key, int | np.integer) else key  # classes may be named by numbers
        if name in given:
            raise InputError(f"target_prior must name a class once, got {name!r} twice; leave one out")
        given[name] = value
    for name in given:
        if name not in names:
            raise InputError(
                f"target_prior must name classes of the model, got {str(name)[:80]!r}; "
                f"{nearest(str(name), names)}"
            )
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(
            f"target_prior must hold every class, got none for {', '.join(missing[:10])}; give 0 for a class "
            "that does not occur"
        )
    return [given[name] for name in names]


def _listed(given: Any) -> Sequence[Any]:
    values = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(values, Sequence):
        raise InputError(
            f"target_prior must be class frequencies, got {str(given)[:40]}; give a mapping from "
            "class to share"
        )
    return values


def _checked(values: Sequence[Any], names: Sequence[str]) -> tuple[float, ...]:
    if len(values) != len(names):
        raise InputError(
            f"target_prior must hold one frequency a class ({len(names)}), got {len(values)}; give them in "
            "class order"
        )
    for name, value in zip(names, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, _NUMBERS) or not 0 <= value <= 1:
            raise InputError(
                f"target_prior must hold shares in [0, 1], got {str(value)[:40]} for {name!r}; give a share"
            )
    total = math.fsum(values)
    if abs(total - 1) > _OFF:
        raise InputError(
            f"target_prior must sum to 1, got {total:.4g} over {len(names)} classes; divide by the sum"
        )
    return tuple(float(value) / total for value in values)
