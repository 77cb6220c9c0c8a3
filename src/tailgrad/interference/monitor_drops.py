"""Where early training went against a class, read from the records of a monitor."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tailgrad.interference.descent import InitialDrop, initial_drop
from tailgrad.interference.gram import Array

Records = Sequence[dict[str, Any]]
_BLAMED = 0.1  # of all that hurts a class: below it another class is not named
_NAMED = 3


def find_drops(
    records: Records, class_names: Sequence[str], *, until: int | None = None, shortest: int = 3
) -> list[InitialDrop]:
    """Stretches of records in which updates opposed a class while its loss rose.

    Args:
        records: of a monitor, in order.
        class_names: K names.
        until: last step that counts as early; by default all are looked at.
        shortest: records a stretch must have, at least 1.

    Raises:
        InputError: ``shortest`` below 1.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> find_drops([], ["cat", "dog"])
        []
    """
    steps = [record["step"] for record in records]
    found = initial_drop(
        _table(records, "product", class_names),
        _table(records, "cross_entropy", class_names),
        class_names,
        steps=steps,
        until=until,
        shortest=shortest,
    )
    return [replace(drop, culprits=_culprits(drop, records)) for drop in found]


def _table(records: Records, key: str, class_names: Sequence[str]) -> Array:
    place = {name: c for c, name in enumerate(class_names)}
    table = np.full((len(records), len(class_names)), np.nan)
    for row, record in zip(table, records, strict=True):
        for name, value in record[key].items():
            row[place[name]] = np.nan if value is None else value
    return table


def _culprits(drop: InitialDrop, records: Records) -> tuple[str, ...]:
    harm: Counter[str] = Counter()
    stretch = [record for record in records if drop.first <= record["step"] <= drop.last]
    for hurt in (hurt for record in stretch for hurt in record["hurt"]):
        if hurt["class"] == drop.class_name:
            harm.update({name: -value for name, value in hurt["by"].items()})
    worst = [(name, value) for name, value in harm.most_common(_NAMED) if value > _BLAMED * harm.total()]
    return tuple(name for name, _ in worst)
