"""Runs side by side against one at a time: the same study twice, process starts and all.

    python benchmarks/jobs.py [--source digits-lt] [--runs 4] [--jobs auto] [--epochs 10]

On a GPU: python benchmarks/jobs.py --source DATA/cifar10 --regime plain-200 --runs 8 --jobs 8 --epochs 20
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from record import provenance, save
from tailgrad.recipes import compare


def _study(options: argparse.Namespace, out: Path, jobs: Any) -> float:
    train: dict[str, Any] = {"epochs": options.epochs, "precision": "float32", "channels_last": False}
    data: dict[str, Any] = {"near_duplicates": False}
    if options.factor:
        data["imb_factor"] = options.factor
    begin = time.perf_counter()
    compare(
        options.source,
        ["ce"],
        seeds=options.runs,
        regime=options.regime,
        overrides={
            "data": data,
            "train": train,
            "model": {"name": "resnet32"},
            "interference": {"enabled": False},
        },
        out=out,
        jobs=jobs,
        console=Console(stderr=True, soft_wrap=True),
    )
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", default="digits-lt")
    parser.add_argument("--regime", default="digits")
    parser.add_argument("--factor", type=float)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--jobs", default="auto")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"1": [], options.jobs: []}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(options.rounds):
            for jobs in ("1", options.jobs) if i % 2 == 0 else (options.jobs, "1"):
                seconds[jobs].append(_study(options, Path(folder) / f"{i}-{jobs}", jobs))
    ratios = sorted(one / many for one, many in zip(seconds["1"], seconds[options.jobs], strict=True))
    content = {
        "what": f"{options.runs} runs of resnet32 on {Path(options.source).name}: seconds of the study one "
        f"run at a time over seconds with --jobs {options.jobs}, evaluation and process starts included",
        "runs": options.runs,
        "epochs": options.epochs,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "seconds": {jobs: [round(s, 1) for s in found] for jobs, found in seconds.items()},
        **provenance(list(range(options.runs))),
    }
    print(f"--jobs {options.jobs} does {ratios[len(ratios) // 2]:.2f} times as many runs in the same time")
    save(f"bench-jobs-{'cuda' if torch.cuda.is_available() else 'cpu'}", content)


if __name__ == "__main__":
    main()
