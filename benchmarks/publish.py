"""Keep a finished study as evidence: its comparison with provenance as JSON, and one chart as SVG.

    python benchmarks/publish.py STUDY results/NAME [--commit HASH]

Nothing of the images is copied: the JSON holds figures, class names, counts and the splits' hashes.
"""

import argparse
import html
import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from record import ROOT, provenance
from tailgrad.files import write_json, write_text

WIDTH, ROW, LEFT, RIGHT = 760, 34, 190, 30
INK, FAINT, REFERENCE, OTHER = "#1a1a1a", "#c9c9c9", "#0072b2", "#d55e00"
TITLES = {"macro_f1": "Macro-F1", "balanced_accuracy": "Balanced accuracy", "accuracy": "Accuracy"}


def collect(study: Path) -> dict[str, Any]:
    """The comparison with what it was made from."""
    about = yaml.safe_load((study / "study.yaml").read_text())
    comparison = json.loads((study / "comparison.json").read_text())
    runs = [json.loads(path.read_text()) for path in sorted(study.glob("runs/*/result.json"))]
    splits = [json.loads(path.read_text()) for path in sorted(study.glob("runs/*/split.json"))]
    kept = ("method", "seed", "split_seed", "epochs", "best_epoch", "train_images", "parameters", "classes")
    about["source"] = Path(about["source"]).name
    environment = about.pop("environment")
    words = shlex.split(environment.pop("command"))
    command = shlex.join([Path(w).name if "/" in w and w.startswith((".", "/")) else w for w in words])
    origin = provenance(sorted({run["seed"] for run in runs}))
    return {
        "what": f"{', '.join(about['methods'])} on {about['source']}",
        "study": about,
        "comparison": comparison,
        "runs": [{key: run[key] for key in kept} | {"test": run["test"]} for run in runs],
        "interference": [_conflict(path) for path in sorted(study.glob("runs/*"))],
        "split_sha256": sorted({split["sha256"] for split in splits}),
        **origin,
        "command": command,
        "environment": environment,
    }


def _conflict(run: Path) -> dict[str, Any]:
    from tailgrad.interference import Interference

    stages = {}
    for path in sorted((run / "interference").glob("*.json")):
        found = Interference.load(path)
        stages[path.stem] = {
            "mean": found.mean,
            "mean_null": found.mean_null,
            "mean_excess": found.mean_excess,
        }
    return {"run": run.name, "group": "backbone", "stages": stages}


def chart(comparison: dict[str, Any], title: str) -> str:
    """Dots a seed and means with intervals, one panel of rows a metric, as an SVG."""
    metrics = [m for m in TITLES if any(row["metric"] == m for row in comparison["rows"])]
    methods = list(dict.fromkeys(row["method"] for row in comparison["rows"]))
    height = 90 + len(metrics) * (30 + ROW * len(methods))
    parts, y = [_text(16, 28, title, 15, "bold")], 56
    for metric in metrics:
        parts.append(_text(16, y, TITLES[metric], 13, "bold"))
        for method in methods:
            y += ROW
            row = next(r for r in comparison["rows"] if (r["method"], r["metric"]) == (method, metric))
            parts += _row(row, y, REFERENCE if method == methods[0] else OTHER)
        y += 30
    for i in range(6):
        x = LEFT + (WIDTH - LEFT - RIGHT) * i // 5
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="44" y2="{y - 14}" stroke="{FAINT}" stroke-dasharray="2 4"/>'
        )
        parts.append(_text(x - 9, y + 4, f"{i / 5:.1f}", 11))
    label = f"{title}: means over seeds with 95 % intervals"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    frame = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([f'{head} aria-label="{html.escape(label)}">', frame, *parts, "</svg>\n"])


def _row(row: dict[str, Any], y: int, colour: str) -> list[str]:
    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, value))

    end = x(1.0)
    parts = [
        f'<line x1="{LEFT}" x2="{end}" y1="{y}" y2="{y}" stroke="{FAINT}"/>',
        _text(32, y + 4, row["method"], 12),
    ]
    if row["low"] is not None:
        parts.append(
            f'<line x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{colour}" stroke-width="3"/>'
        )
    parts += [
        f'<circle cx="{x(v):.1f}" cy="{y}" r="3.5" fill="none" stroke="{INK}"/>' for v in row["per_seed"]
    ]
    parts.append(f'<circle cx="{x(row["mean"]):.1f}" cy="{y}" r="5.5" fill="{colour}"/>')
    parts.append(_text(int(x(row["mean"])) - 14, y - 9, f"{row['mean']:.3f}", 11))
    return parts


def _text(x: int, y: int, text: str, size: int, weight: str = "normal") -> str:
    style = f'font-family="sans-serif" font-size="{size}" font-weight="{weight}" fill="{INK}"'
    return f'<text x="{x}" y="{y}" {style}>{html.escape(text)}</text>'


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--commit", help="the commit that the study was run with; default the present one")
    options = parser.parse_args()
    content = collect(options.study)
    content["commit"] = options.commit or content["commit"]
    write_json(options.out / "comparison.json", content)
    title = f"{content['what']}, regime {content['study']['regime']}, {content['study']['seeds']} seeds"
    write_text(options.out / "chart.svg", chart(content["comparison"], title))
    print(f"wrote {options.out / 'comparison.json'} and {options.out / 'chart.svg'} ({ROOT.name})")


if __name__ == "__main__":
    main()
