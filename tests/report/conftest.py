"""Run and study folders as training writes them, from made-up numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tailgrad.evaluate import evaluate, evaluate_predictions, paired_difference, student_t
from tailgrad.interference import Branches, Interference
from tailgrad.types import ClassInfo

NAMES = (
    "Clean",
    '<script>alert("x")</script>',
    "Straße & Schnee 雪 🌨 \u2028 $x$",
    "quo\"te's/slash\\back",
    "n" * 300,
    "</script><b>%{y}</b>",
)
COUNTS = (200, 120, 64, 33, 18, 9)
METRICS = ("macro_f1", "balanced_accuracy", "accuracy")


def cosines(random: np.random.Generator, classes: int) -> np.ndarray:
    vectors = random.normal(size=(classes, 8)) - 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def certain(conflict: np.ndarray, counts: tuple[int, ...], random: np.random.Generator) -> dict[str, Any]:
    """The fields that hold how sure a measurement is; one pair is not to be told from noise."""
    size = len(counts)
    clean = 1.2 * conflict
    if size > 3:
        clean[0, 1] = clean[1, 0] = np.nan
    half = 0.2 + random.random((size, size))
    half = (half + half.T) / 2
    return {
        "disattenuated": clean,
        "interval": np.stack([clean - half, clean + half]),
        "reliability": np.where(np.isnan(np.diagonal(conflict)), np.nan, random.random(size)),
        "null_error": np.full((size, size), 0.01),
        "contributions": random.normal(size=(size, size)) + 2 * np.eye(size),
        "train_counts": np.array(counts),
    }


def interference(
    names: tuple[str, ...], counts: tuple[int, ...], seed: int, branches: bool, sure: bool = False
) -> Interference:
    random = np.random.default_rng(seed)
    size = len(names)
    layers = [f"backbone.stage{i}.conv" for i in range(6)]
    null = -0.5 * np.ones((size, size)) / (size - 1) + np.eye(size) * (1 + 0.5 / (size - 1))
    conflict = cosines(random, size)
    if size > 3:  # a class that could not be measured
        conflict[-1, :] = conflict[:, -1] = np.nan
    return Interference(
        class_names=names,
        counts=np.full(size, 7) if sure else np.array(counts),
        primary="backbone",
        conflict=conflict,
        null=null,
        norms=random.random(size),
        loss=random.random(size),
        groups={"backbone": conflict},
        group_null={"backbone": null},
        layers={layer: cosines(random, size) for layer in layers},
        layer_null=dict.fromkeys(layers, null),
        layer_norms={layer: random.random(size) for layer in layers},
        branches=Branches(
            ("head.branches.0", "head.branches.1", "head.branches.2"), random.random((3, size)) + 0.5
        )
        if branches
        else None,
        **(certain(conflict, counts, random) if sure else {}),
    )


def epochs(random: np.random.Generator, name: str) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "lr": 0.001,
            "train_loss": 1.6 * 0.8**epoch + 0.1,
            "val_loss": 1.5 * 0.85**epoch + 0.3,
            "val_macro_f1": 0.6 - 0.4 * 0.8**epoch + 0.02 * float(random.normal()),
            "val_accuracy": 0.7 - 0.3 * 0.8**epoch,
            "val_worst_f1": 0.3 - 0.3 * 0.8**epoch if epoch > 2 else None,
            "val_worst_class": name,
            "seconds": 2.0 * epoch,
        }
        for epoch in range(1, 16)
    ]


def write_run(
    folder: Path,
    *,
    method: str = "csba",
    seed: int = 0,
    names: tuple[str, ...] = NAMES,
    counts: tuple[int, ...] = COUNTS,
    focus: str | None = None,
    moments: tuple[str, ...] = ("early", "train", "heldout"),
) -> dict[str, Any]:
    """Write a run folder and return its result."""
    random = np.random.default_rng([seed, len(method)])
    info, size = ClassInfo(names, counts), len(names)
    target = np.repeat(np.arange(size), max(12, 120 // size))
    logits = (
        random.normal(size=(len(target), size)) + (1.6 if method == "csba" else 1.3) * np.eye(size)[target]
    )
    test, val = (
        evaluate(logits, target, info, resamples=200),
        evaluate_predictions(target, target, info, resamples=0),
    )
    result = {
        "data": "panels <&>",
        "regime": "quick",
        "method": method,
        "seed": seed,
        "split_seed": seed,
        "own_test": False,
        "status": "finished",
        "epochs": 15,
        "best_epoch": 12,
        "seconds": 312.5,
        "parameters": 1_792_594,
        "train_images": sum(counts),
        "classes": {"names": list(names), "counts": list(counts)},
        "test": test.to_dict(),
        "val": val.to_dict(),
        "advice": [
            {"kind": "conflict", "remedy": "csba", "reason": "Excess of <b>x</b>.", "strength": 2.0},
            {"kind": "conflict", "remedy": "", "reason": "Excess of <b>x</b>.", "strength": 1.9},
        ],
        "focus": focus and {"class": focus, "threshold": 0.37, "f1": test.row(focus).f1.to_dict()},
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    lines = (json.dumps(row, ensure_ascii=False) for row in epochs(random, names[2 % size]))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {"source": "<img src=x onerror=alert(1)>", "optim": {"name": "adam", "lr": 0.001}, "seed": seed}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"torch": "2.12", "cpu_cores": 2}))
    (folder / "split.json").write_text(json.dumps({"sha256": f"{seed:02d}" + "ab" * 31, "seed": seed}))
    for place, moment in enumerate(moments):
        start = 10 * seed + place + len(method)
        # files written before there were intervals look like that of the training images
        found = interference(names, counts, start, branches=method == "csba", sure=moment != "train")
        found.save(folder / "interference" / moment)
    return result


def comparison(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    first = next(iter(results))
    rows, paired = [], []
    for metric in METRICS:
        values = {name: [run["test"][metric]["value"] for run in runs] for name, runs in results.items()}
        for name, found in values.items():
            mean = student_t(found)
            row = {"mean": mean.value, "low": mean.low, "high": mean.high, "n": len(found), "per_seed": found}
            rows.append({"method": name, "metric": metric, **row})
            if name != first:
                difference = paired_difference(found, values[first]).to_dict()
                extra = {"p_holm": difference["p"], "wilcoxon_p": None}
                paired.append({"method": name, "against": first, "metric": metric, **difference, **extra})
    mcnemar = [
        {"method": "csba", "against": first, "p": 0.25, "images": {"only_csba": 7, "only_baseline": 3}}
    ]
    said = (
        "With one seed nothing can be concluded."
        if len(results[first]) == 1
        else "Whether they differ is open."
    )
    return {
        "metric": "macro_f1",
        "rows": rows,
        "paired": paired,
        "conclusion": said,
        "mcnemar_seed0": mcnemar,
    }


def write_study(folder: Path, seeds: int = 3, *, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """Write a study folder of baseline and CSBA and return its comparison."""
    results = {
        method: [
            write_run(folder / "runs" / f"panels.quick.{method}.seed{s}", method=method, seed=s, names=names)
            for s in range(seeds)
        ]
        for method in ("baseline", "csba")
    }
    settings = {"source": "panels", "regime": "quick", "methods": ["baseline", "csba"], "seeds": seeds}
    settings |= {"differences": ["model.head"], "own_test": False, "environment": {"torch": "2.12"}}
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    found = comparison(results)
    (folder / "comparison.json").write_text(json.dumps(found))
    return found


@pytest.fixture(scope="session")
def make_run() -> Callable[..., dict[str, Any]]:
    return write_run


@pytest.fixture(scope="session")
def make_study() -> Callable[..., dict[str, Any]]:
    return write_study


@pytest.fixture(scope="session")
def nasty_names() -> tuple[str, ...]:
    return NAMES


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    write_run(folder)
    return folder


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "panels"
    write_study(folder)
    return folder
