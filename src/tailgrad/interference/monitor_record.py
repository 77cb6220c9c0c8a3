"""One measurement of a monitor as a JSON-ready dictionary."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailgrad.interference.gram import Array, cosines, off_diagonal
from tailgrad.interference.measurement import Found
from tailgrad.interference.scope import Scope

Record = dict[str, Any]
KIND = "interference"
_MATRIX = 32  # classes up to which the whole table of cosines is kept
_PAIRS = 10
_BLAMED = 5
_NOTHING = (
    "The contributions of no parameter add up to its gradient, which has another source than this one pass "
    "through the logits (a term of the loss, a further pass): only losses and logit gradients are recorded."
)
_MIXED = (
    "With BatchNorm in training mode, masked parameters hold gradients of class losses, the others "
    "contributions of examples."
)


def make_record(found: Found, scope: Scope, class_names: Sequence[str], step: int) -> Record:
    """Figures by class name; what could not be computed is None.

    Args:
        found: the figures.
        scope: what was measured, and how.
        class_names: K names.
        step: optimiser steps taken, counted from 1.

    Example: see ``Monitor``.
    """
    names = [class_names[c] for c in found.classes]
    missing = 0.0 if scope.measured else math.nan
    gram, product = found.gram + missing, found.product + missing
    conflict, norms = cosines(gram), np.sqrt(np.diagonal(gram))
    by_class = {
        "count": found.counts,
        "cross_entropy": found.cross_entropy,
        "norm": norms,
        "alignment": _ratio(product, norms * found.update_norm),
        "product": product,
    }
    return {
        "kind": KIND,
        "step": step,
        "parameters": scope.label,
        "numbers": sum(p.numel() for p in scope.measured.values()),
        "batches": found.batches,
        "update_norm": found.update_norm,
        **{key: _named(names, values) for key, values in by_class.items()},
        "mean_conflict": _plain(_mean(off_diagonal(conflict))),
        "worst_pairs": _worst(conflict, names),
        "conflict": [[_plain(v) for v in row] for row in conflict]
        if scope.measured and len(names) <= _MATRIX
        else None,
        "pull": {
            "own": _named(class_names, found.pull.own),
            "others": _named(class_names, found.pull.others),
        },
        "hurt": _hurt(found, names),
        "masked": sorted(scope.masked),
        "unknown": sorted(scope.unknown),
        "sketch": found.sketch,
        "notes": _notes(scope),
    }


def scalars(record: Mapping[str, Any], prefix: str = KIND) -> dict[str, float]:
    """Every finite number of a record, named by its path; lists, words and missing values are left out.

    Args:
        record: nested mappings with numbers at their ends.
        prefix: put in front of every name.

    Example:
        >>> scalars({"norm": {"cat": 0.5, "dog": None}, "conflict": [[1.0]], "kind": "interference"})
        {'interference/norm/cat': 0.5}
    """
    found: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}/{key}")
        elif isinstance(value, int | float) and math.isfinite(value):
            found[f"{prefix}/{key}"] = float(value)
    return found


def _notes(scope: Scope) -> list[str]:
    if not scope.measured:
        return [_NOTHING]
    return [_MIXED] if scope.is_coupled and scope.masked and scope.split else []


def _hurt(found: Found, names: Sequence[str]) -> list[Record]:
    """For each class that the update goes against, the classes whose contributions oppose its own most."""
    hurt = []
    for i in map(int, np.flatnonzero(found.product < 0)):
        row = found.gram[i] / found.counts[i]  # a mean gradient, so that rows of several steps can be added
        order = [int(j) for j in np.argsort(row, kind="stable")[:_BLAMED] if row[j] < 0]
        hurt.append({"class": names[i], "by": {names[j]: float(row[j]) for j in order}})
    return hurt


def _worst(conflict: Array, names: Sequence[str]) -> list[Record]:
    rows, columns = np.triu_indices(len(names), 1)
    values = conflict[rows, columns]
    order = [int(k) for k in np.argsort(values, kind="stable")[:_PAIRS] if values[k] < 0]
    return [
        {"first": names[int(rows[k])], "second": names[int(columns[k])], "conflict": float(values[k])}
        for k in order
    ]


def _named(names: Sequence[str], values: Array) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in zip(names, values, strict=True)}


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _ratio(values: Array, by: Array) -> Array:
    result: Array = values / np.where(by > 0, by, np.nan)
    return result
