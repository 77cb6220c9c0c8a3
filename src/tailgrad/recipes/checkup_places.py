"""Folders that this program and those it stands on write to."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tailgrad.recipes.checkup_packages import Found

_NEEDED = "temporary files"


def places() -> dict[str, Any]:
    """Each folder, and whether it can be written.

    Example:
        >>> places()["temporary files"]["writable"]
        True
    """
    return {name: {"path": str(path), "writable": writable(path)} for name, path in _places().items()}


def _places() -> dict[str, Path]:
    from huggingface_hub import constants
    from torch import hub

    from tailgrad.recipes.speed_cache import cache_file

    return {
        "working folder": Path.cwd(),
        _NEEDED: _temporary(),
        "speeds measured before": cache_file({}).parent,
        "pretrained weights": Path(constants.HF_HUB_CACHE),
        "torch": Path(hub.get_dir()),
    }


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # there is none that can be written
        return Path(os.environ.get("TMPDIR", "/tmp"))


def writable(path: Path) -> bool:
    """Whether a file can be made in a folder; where it is not there yet, in the nearest thing above it.

    Example:
        >>> writable(Path("/proc/nothing/here"))
        False
    """
    place = next((one for one in (path, *path.parents) if one.exists()), path)
    try:
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def place_findings(found: Mapping[str, Any]) -> Iterator[Found]:
    """Folders that cannot be written.

    Example:
        >>> list(place_findings({"torch": {"path": "/x", "writable": False}}))
        [('note', 'The folder for torch cannot be written: /x.', 'nothing; it is done without')]
    """
    remedies = {
        "working folder": "go to another, or name one with --out",
        _NEEDED: "set TMPDIR to a folder that can be written",
        "pretrained weights": "set HF_HOME to a folder that can be written, or model.pretrained=false",
    }
    for name, fact in found.items():
        if not fact["writable"]:
            level = "broken" if name == _NEEDED else "note"
            remedy = remedies.get(name, "nothing; it is done without")
            yield level, f"The folder for {name} cannot be written: {fact['path']}.", remedy
