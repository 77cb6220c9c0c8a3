"""Paired timing in one process, and the JSON that a figure in the documentation rests on."""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tailgrad.files import write_json

ROOT = Path(__file__).resolve().parent.parent


def paired_ratio(
    a: Callable[[], object],
    b: Callable[[], object],
    rounds: int,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Time a and b in turn (A B, B A, ...) after one warm-up each: ratio of each round, and median."""
    seconds: dict[str, list[float]] = {"a": [], "b": []}
    calls = {"a": a, "b": b}
    for call in calls.values() if warm_up else ():
        call()
    for i in range(rounds):
        for name in ("ab", "ba")[i % 2]:
            begin = clock()
            calls[name]()
            _wait()
            seconds[name].append(clock() - begin)
    ratios = sorted(x / y for x, y in zip(seconds["a"], seconds["b"], strict=True))
    return {
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(ratios[len(ratios) // 4], 4), round(ratios[-1 - len(ratios) // 4], 4)],
        "rounds": rounds,
        "seconds_a_median": round(statistics.median(seconds["a"]), 5),
        "seconds_b_median": round(statistics.median(seconds["b"]), 5),
    }


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def provenance(seeds: list[int]) -> dict[str, Any]:
    """Command, commit, seeds, hardware, date."""
    return {
        "command": " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "seeds": seeds,
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(name: str, content: dict[str, Any]) -> None:
    """Write ``results/<name>.json`` and say so."""
    path = write_json(ROOT / "results" / f"{name}.json", content)
    print(f"wrote {path.relative_to(ROOT)}")
