"""Folders of a run and of a study with made-up figures, to look at reports of any size without training.

python docs/example_results.py OUT --classes 100

Writes OUT/run, OUT/study (three methods, three seeds, one run failed) and OUT/images, generated patterns that
the reports show as examples. Classes come in families that look alike, and the rarer a class, the worse it
fares. Reports are written as well.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from tailgrad.evaluate import evaluate, paired_difference, student_t
from tailgrad.interference import Branches, Interference
from tailgrad.report import Advice, advise, write_report
from tailgrad.types import ClassInfo

FAMILY = 4  # classes that look alike
GAINS = {"baseline": 1.5, "balanced_softmax": 1.8, "csba": 2.0}
LAYERS = ("stem", "stage1.0", "stage1.1", "stage2.0", "stage2.1", "stage3.0", "stage3.1")
METRICS = ("macro_f1", "balanced_accuracy", "accuracy")
EPOCHS = 12
Numbers = np.ndarray[Any, Any]


def classes_of(size: int) -> ClassInfo:
    """Families of classes with exponentially falling counts."""
    counts = np.round(600 * 0.01 ** (np.arange(size) / max(1, size - 1))).astype(int)
    shuffled = np.random.default_rng(0).permutation(size)
    names = tuple(f"{k // FAMILY + 1:03d}-{'ABCD'[k % FAMILY]}" for k in shuffled)
    return ClassInfo(names, tuple(int(n) for n in counts))


def family(info: ClassInfo) -> Numbers:
    """The family of every class [K]."""
    return np.array([int(name.split("-")[0]) for name in info.names])


def logits_of(info: ClassInfo, gain: float, random: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Logits of test images that lean to frequent classes and to the family, and targets."""
    size = info.num_classes
    target = np.repeat(np.arange(size), max(6, min(50, 6000 // size)))
    kin = family(info)
    alike = 1.4 * (kin[target][:, None] == kin[None, :])
    prior = 0.7 * np.log(np.array(info.counts))
    own = (gain + 0.9 * np.log10(max(10, size))) * np.eye(size)[target]
    return random.normal(size=(len(target), size)) + own + alike + prior, target


def cosines(info: ClassInfo, strength: float, random: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Conflict [K, K] in which kin agree and every second family opposes the next, and its null."""
    size, kin = info.num_classes, family(info)
    null = np.full((size, size), -1 / max(1, size - 1))
    noise = random.normal(0, 0.06, (size, size))
    same = kin[:, None] == kin[None, :]
    rivals = ((kin - 1) // 2)[:, None] == ((kin - 1) // 2)[None, :]
    conflict = null + strength * (0.5 * same - (rivals & ~same)) + (noise + noise.T) / 2
    for matrix in (null, conflict):
        np.fill_diagonal(matrix, 1.0)
    return np.clip(conflict, -1, 1), null


def measured(info: ClassInfo, strength: float, random: np.random.Generator) -> Interference:
    """A measurement with intervals, contributions, layers and branches."""
    size, counts = info.num_classes, np.array(info.counts)
    conflict, null = cosines(info, strength, random)
    half = 0.1 + 0.8 / np.sqrt(np.minimum(counts[:, None], counts[None, :]))
    pull = np.where(np.eye(size, dtype=bool), 1.0, 2 * conflict * counts[None, :] / counts.sum())
    deep = LAYERS if size <= 256 else ()
    depth = {name: (at + 1) / len(LAYERS) for at, name in enumerate(LAYERS)}
    parts = {name: cosines(info, strength * depth[name], random) for name in deep}
    return Interference(
        class_names=info.names,
        counts=np.minimum(counts, 200),
        primary="backbone",
        conflict=conflict,
        null=null,
        norms=1 + random.random(size),
        loss=2 - np.log10(counts) / 3,
        groups={"backbone": conflict},
        group_null={"backbone": null},
        layers={name: pair[0] for name, pair in parts.items()},
        layer_null={name: pair[1] for name, pair in parts.items()},
        layer_norms={name: np.ones(size) for name in parts},
        disattenuated=conflict,
        interval=np.stack([conflict - half, conflict + half]),
        reliability=1 - 1 / np.sqrt(counts),
        null_error=np.full((size, size), 0.01),
        contributions=pull,
        train_counts=counts,
        branches=Branches(("head.0", "head.1", "head.2"), random.random((3, size)) + 0.7),
    )


def write_images(folder: Path, info: ClassInfo) -> dict[int, list[str]]:
    """A few patterns of every class, the hue of the family and the stripes of the class; names by class."""
    random, kin = np.random.default_rng(1), family(info)
    y, x = np.mgrid[:64, :64] / 64
    found: dict[int, list[str]] = {}
    for k, name in enumerate(info.names):
        (folder / name).mkdir(parents=True)
        for i in range(4 if info.num_classes <= 100 else 2):
            stripes = np.sin(2 * np.pi * (3 + "ABCD".index(name[-1])) * (x + y * random.normal(0, 0.4)))
            hue = np.array([np.cos(kin[k]), np.cos(2 * kin[k] + 2), np.cos(3 * kin[k] + 4)])
            pixels = 128 + 55 * hue + 45 * stripes[..., None] + random.normal(0, 12, (64, 64, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i}.png")
            found.setdefault(k, []).append(f"{name}/{i}.png")
    return found


def write_run(
    folder: Path, info: ClassInfo, images: dict[int, list[str]], method: str, seed: int
) -> dict[str, Any]:
    """Everything that training writes, from made-up numbers; the result."""
    random = np.random.default_rng([seed, len(method), info.num_classes])
    logits, target = logits_of(info, GAINS[method] + 0.1 * random.normal(), random)
    test = evaluate(logits, target, info, resamples=200)
    heldout, early = measured(info, 0.6, random), measured(info, 0.4, random)
    result: dict[str, Any] = {
        "data": "generated",
        "regime": "example",
        "method": method,
        "seed": seed,
        "split_seed": seed,
        "own_test": False,
        "status": "finished",
        "epochs": EPOCHS,
        "best_epoch": EPOCHS - 2,
        "seconds": 300.0,
        "parameters": 1_000_000,
        "train_images": sum(info.counts),
        "classes": {"names": list(info.names), "counts": list(info.counts)},
        "test": test.to_dict(),
        "advice": [_fields(one) for one in advise(heldout, test)],
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    heldout.save(folder / "interference" / "heldout")
    early.save(folder / "interference" / "early")
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, _lines(info, random))))
    (folder / "config.yaml").write_text(yaml.safe_dump(_config(folder, method, seed)))
    (folder / "environment.json").write_text(json.dumps({"tailgrad": "0", "torch": "none", "python": "3"}))
    split = {
        "sha256": f"{seed:02d}" + "0" * 62,
        "seed": seed,
        "method": "made up",
        "groups_kept": 3,
        "leakage": [],
    }
    (folder / "split.json").write_text(json.dumps(split))
    predicted = logits.argmax(1)
    names = [images[k][i % len(images[k])] for i, k in enumerate(target.tolist())]
    columns = {"part": ["test"] * len(target), "name": names, "target": target, "predicted": predicted}
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
    return result


def _fields(one: Advice) -> dict[str, Any]:
    return {"kind": one.kind, "remedy": one.remedy, "reason": one.reason, "strength": one.strength}


def _config(folder: Path, method: str, seed: int) -> dict[str, Any]:
    up = next(parent for parent in folder.parents if (parent / "images").is_dir())
    train = {"epochs": EPOCHS, "batch_size": 64, "augment": ["flip"]}
    data = {"group_duplicates": True, "near_duplicates": True, "drop_leaks": False}
    return {
        "source": str(up / "images"),
        "method": method,
        "seed": seed,
        "data": data,
        "model": {"name": "none"},
        "optim": {"name": "adam", "lr": 0.001},
        "train": train,
    }


def _lines(info: ClassInfo, random: np.random.Generator) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for epoch in range(1, EPOCHS + 1):
        conflict, _ = cosines(info, 0.5 * epoch / EPOCHS, random)
        pairs = conflict[~np.eye(len(conflict), dtype=bool)]
        cells = np.round(conflict, 3).tolist() if info.num_classes <= 32 else None
        counts = dict.fromkeys(info.names, 1.0)
        watched = {"kind": "interference", "step": 10 * epoch, "count": counts, "conflict": cells}
        lines.append(watched | {"mean_conflict": float(pairs.mean())})
        score = 0.6 - 0.5 * 0.8**epoch
        losses = {"train_loss": 1.6 * 0.8**epoch + 0.1, "val_loss": 1.5 * 0.85**epoch + 0.3}
        scores = {"val_macro_f1": score, "val_worst_f1": score / 2, "val_accuracy": score + 0.1}
        lines.append({"epoch": epoch, **losses, **scores})
    return lines


def write_study(folder: Path, info: ClassInfo, images: dict[int, list[str]], seeds: int = 3) -> None:
    """Runs of every method, their comparison, and one run that failed."""
    results = {
        method: [
            write_run(folder / "runs" / f"{method}.seed{s}", info, images, method, s) for s in range(seeds)
        ]
        for method in GAINS
    }
    settings = {
        "source": "generated",
        "regime": "example",
        "methods": list(GAINS),
        "seeds": seeds,
        "own_test": False,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(settings | {"differences": ["loss", "head"]}))
    (folder / "comparison.json").write_text(json.dumps(compared(results)))
    failed = folder / "runs" / "csba.seed3"
    failed.mkdir()
    (failed / "failure.json").write_text(json.dumps({"kind": "diverged", "text": "loss is nan at step 120"}))


def compared(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Rows and paired differences as a study writes them."""
    first, rows, paired = next(iter(results)), [], []
    for metric in METRICS:
        values = {name: [run["test"][metric]["value"] for run in runs] for name, runs in results.items()}
        for name, found in values.items():
            mean = student_t(found)
            ends = {
                "mean": mean.value,
                "low": mean.low,
                "high": mean.high,
                "n": len(found),
                "per_seed": found,
            }
            rows.append({"method": name, "metric": metric, **ends})
            if name != first:
                difference = paired_difference(found, values[first]).to_dict()
                row = {"method": name, "against": first, "metric": metric, **difference}
                paired.append(row | {"p_holm": difference["p"]})
    said = "Made-up figures, to show what a report looks like."
    return {"metric": "macro_f1", "unit": "seed", "rows": rows, "paired": paired, "conclusion": said}


def main() -> None:
    """Write both folders and their reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--classes", type=int, default=12)
    options = parser.parse_args()
    info = classes_of(options.classes)
    images = write_images(options.out / "images", info)
    write_run(options.out / "run", info, images, "baseline", 0)
    write_study(options.out / "study", info, images)
    for name in ("run", "study"):
        print(write_report(options.out / name))


if __name__ == "__main__":
    main()
