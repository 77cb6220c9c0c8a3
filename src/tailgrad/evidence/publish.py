"""A finished study as it is committed: one JSON object of bounded size, and its chart."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.evidence.chart import chart
from tailgrad.evidence.study import Evidence
from tailgrad.files import finite, write_json, write_text
from tailgrad.recipes.run_folder import read_json
from tailgrad.untrusted import of_shape

LARGEST = 10**6
"""Bytes of a committed study; detail is left out until it fits."""
_DIGITS = 6


def publish(evidence: Evidence, folder: str | Path) -> Path:
    """Write ``<study>.<size>/evidence.json`` and ``chart.svg`` into a folder that is kept with the code.

    Figures have six digits. Where the file would be larger than 1 MB, confusion matrices go first, then
    figures of single classes, then those of single units; ``left_out`` says which. Nothing of the images is
    in it, and no path of this machine.

    Args:
        evidence: of a study.
        folder: such as ``results``.

    Returns:
        The folder that was written.

    Raises:
        InputError: it cannot be written, or has claims with a figure that this one lacks.

    Example:
        >>> import tempfile
        >>> found = Evidence(Path("x"), {"study": "mine", "size": "full", "claims": [], "groups": {},
        ...                              "figures": {}})
        >>> sorted(path.name for path in publish(found, tempfile.mkdtemp()).iterdir())
        ['chart.svg', 'evidence.json']
    """
    place = Path(folder) / f"{evidence.content['study']}.{evidence.content['size']}"
    _check_kept(place, evidence.content)
    write_json(place / "evidence.json", committed(evidence.content))
    write_text(place / "chart.svg", chart(evidence.content))
    return place


def _check_kept(place: Path, content: Mapping[str, Any]) -> None:
    """Figures on record are not lost to a study that ran fewer of its groups."""
    path = place / "evidence.json"
    if not path.is_file():
        return
    with of_shape(path, "remove it, or restore it"):
        before = read_json(path, "remove it, or restore it")
        waits = [claim["id"] for claim in content["claims"] if claim["found"] is None]
        known = {claim["id"] for claim in before["claims"] if claim["found"] is not None}
    if lost := [name for name in waits if name in known]:
        few = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        raise InputError(
            f"record must not lose figures, got {place} with figures of claims that were not measured now "
            f"({few}); run the other groups too with --resume, or remove it"
        )


def committed(content: Mapping[str, Any], largest: int = LARGEST) -> dict[str, Any]:
    """The content of ``evidence.json``, short enough to be committed.

    Args:
        content: as ``study`` wrote it.
        largest: bytes.

    Example:
        >>> committed({"groups": {}, "claims": [], "figures": {}, "seeds": [0], "x": 0.123456789})["x"]
        0.123457
    """
    short: dict[str, Any] = _rounded(dict(content)) | {"left_out": []}
    for what, leave_out in _STEPS.items():
        if _bytes(short) <= largest:
            break
        leave_out(short)
        short["left_out"].append(what)
    return short


def _bytes(content: Mapping[str, Any]) -> int:
    return len(json.dumps(finite(content), indent=2, ensure_ascii=False).encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def _tests(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for group in content["groups"].values():
        yield from (run["test"] for run in group["runs"])


def _without(*keys: str) -> Callable[[Mapping[str, Any]], None]:
    """What takes these keys from the figures of every run."""

    def leave_out(content: Mapping[str, Any]) -> None:
        for test in _tests(content):
            for key in keys:
                test.pop(key, None)

    return leave_out


def _without_units(content: Mapping[str, Any]) -> None:
    for found in (*content["figures"].values(), *(c["found"] for c in content["claims"] if c["found"])):
        found["values"] = []


_STEPS = {
    "confusion matrices": _without("confusion"),
    "figures of single classes": _without("classes", "groups"),
    "figures of single units": _without_units,
}
