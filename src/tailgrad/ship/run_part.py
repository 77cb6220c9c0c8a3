"""Which examples of its source a part of a run holds, where the data are still at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data.open_source import NAMES
from tailgrad.recipes.config import Config
from tailgrad.recipes.prepare import open_config
from tailgrad.recipes.run_folder import RunFolder, read_json
from tailgrad.untrusted import of_shape

_FETCHED = ("cifar",)


def source_of(config: Config, kind: str) -> Source:
    """The source that a configuration names; nothing is fetched for it.

    Args:
        config: of a run.
        kind: ``"images"`` or ``"rows"``, for the error.

    Raises:
        InputError: it is not here.

    Example: see ``ship.export``.
    """
    named = config.source
    built_in = named in NAMES and not named.startswith(_FETCHED)
    if not built_in and not Path(named).expanduser().exists():
        raise InputError(
            f"{kind} of the run must be at hand, got {named!r}, which is not here; export where the data are"
        )
    return open_config(config)


def places(folder: RunFolder, source: Source, part: str, most: int) -> list[tuple[int, Any]]:
    """Positions in the source of up to ``most`` examples of a part, evenly spread, with what they are.

    Args:
        folder: of a finished run.
        source: of its data.
        part: ``"train"``, ``"val"`` or ``"test"``.
        most: number of examples.

    Returns:
        pairs of a position and the class, or the list of labels, that the run has for it.

    Raises:
        InputError: ``split.json`` holds something else than tailgrad writes, or no example of the part is
            there.

    Example: see ``ship.export``.
    """
    names, labels = _listed(folder, part)
    known = {_storable(source.items.name(i)): i for i in range(len(source.items))}
    there = [(known[name], label) for name, label in zip(names, labels, strict=True) if name in known]
    if not there:
        raise nothing_left(folder, source, part)
    return [there[i] for i in np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int))]


def nothing_left(folder: RunFolder, source: Source, part: str) -> InputError:
    """What to raise where no example of a part is at hand.

    Example: see ``ship.export``.
    """
    kind = "rows" if source.regime == "table" else "images"
    return InputError(
        f"{kind} of {folder.path} must be at hand, got none of its {part} {kind} in {source.name}; "
        "export where the data are"
    )


def _listed(folder: RunFolder, part: str) -> tuple[Sequence[str], Sequence[Any]]:
    """Names, and of each the class or the list of its labels."""
    path = folder.path / "split.json"
    with of_shape(path):
        found: Any = read_json(path)["parts"][part]
        labels = [one if isinstance(one, list) else int(one) for one in found["labels"]]
        return list(map(str, found["names"])), labels


def _storable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
