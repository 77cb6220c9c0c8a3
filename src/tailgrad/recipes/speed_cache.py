"""Speeds measured before on this machine, so that a long trial is made once."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tailgrad.checks import InputError
from tailgrad.engine import Trial
from tailgrad.files import write_json
from tailgrad.untrusted import parse_json, read_text

_MOST = 2**20


def cache_file(key: Mapping[str, Any]) -> Path:
    """Where the trials of a key are kept: in ``$XDG_CACHE_HOME/tailgrad``, else ``~/.cache/tailgrad``.

    Example:
        >>> cache_file({"model": "resnet32"}).parent.name
        'tailgrad'
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path(os.path.expanduser("~")) / ".cache"  # noqa: PTH111 - never fails
    text = json.dumps(dict(key), sort_keys=True)
    return home / "tailgrad" / f"speed-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def remember(key: Mapping[str, Any], trials: list[Trial]) -> bool:
    """Keep the trials of a key; whether that could be done. A home that cannot be written is no error.

    Example: see ``recall``.
    """
    with suppress(InputError):
        write_json(cache_file(key), {"key": dict(key), "trials": [asdict(trial) for trial in trials]})
        return True
    return False


def recall(key: Mapping[str, Any]) -> list[Trial]:
    """The trials kept of a key; none where there is no file or it is broken.

    Example:
        >>> recall({"model": "never measured"})
        []
    """
    try:
        content = parse_json(read_text(cache_file(key), _MOST))
        if content["key"] != dict(key):
            return []
        return [_trial(**fields) for fields in content["trials"]]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return []


def _trial(*, seconds: float, compile_seconds: float, **way: Any) -> Trial:
    if not (0 < seconds < float("inf") and 0 <= compile_seconds < float("inf")):
        raise ValueError(f"no times: {seconds}, {compile_seconds}")
    if not all(isinstance(way[name], bool) for name in ("channels_last", "fused")):
        raise ValueError(f"no way to step: {way}")
    return Trial(**way, seconds=float(seconds), compile_seconds=float(compile_seconds))


def machine(device: torch.device) -> dict[str, Any]:
    """What computes, by name.

    Example:
        >>> sorted(machine(torch.device("cpu")))
        ['device', 'threads', 'torch']
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}


def processor() -> str:
    """Name of the CPU.

    Example:
        >>> len(processor()) > 0
        True
    """
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine() or "unknown"
