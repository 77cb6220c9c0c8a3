"""Where a figure comes from: command, commit, hardware, date, versions."""

import datetime
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import tailgrad
from tailgrad.recipes.run_folder import environment


def provenance() -> dict[str, Any]:
    """What is to be known of the present process, without a path of this machine.

    ``commit`` is that of the source tree the package runs from, with ``+`` where files of it have changed
    since; the version where there is no tree.

    Example:
        >>> sorted(provenance())
        ['command', 'commit', 'date', 'hardware', 'versions']
    """
    known = environment()
    return {
        "command": plain_command(sys.argv),
        "commit": _commit() or f"version {tailgrad.__version__}",
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": None if known["gpu"] == "none" else known["gpu"],
        },
        "versions": {name: known[name] for name in ("tailgrad", "torch", "torchvision", "timm", "python")},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def plain_command(words: list[str]) -> str:
    """A command without the folders of this machine.

    Example:
        >>> plain_command(["/usr/bin/tailgrad", "study", "mine.yaml", "--data", "pv=../shared/pv"])
        'tailgrad study mine.yaml --data pv=DATA/pv'
    """
    return shlex.join([_program(words[0]), *(_without_folder(word) for word in words[1:])])


def _program(word: str) -> str:
    name = Path(word).name
    return "tailgrad" if name == "__main__.py" else name


def _without_folder(word: str) -> str:
    slot, equals, path = ("", "", word) if _is_path(word) else word.partition("=")
    return f"{slot}{equals}DATA/{Path(path).name}" if _is_path(path) else word


def _is_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~"))


def _commit() -> str:
    root = Path(tailgrad.__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    commit, changes = _git(root, "rev-parse", "--short", "HEAD"), _git(root, "status", "--porcelain", "src")
    return f"{commit}+" if commit and changes else commit


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # git itself is missing
        return ""
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
