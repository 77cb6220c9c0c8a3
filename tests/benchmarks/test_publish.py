"""What a finished study leaves as evidence: figures with provenance, no path, one honest chart."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from tailgrad.interference import Interference

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"
METHODS = ("baseline", "csba")


@pytest.fixture(scope="module")
def publish() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("publish", BENCHMARKS / "publish.py")
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(BENCHMARKS))


def rows(metric: str, means: dict[str, float], spread: float | None = 0.05) -> list[dict[str, Any]]:
    return [
        {"method": method, "metric": metric, "mean": mean, "per_seed": [mean - 0.02, mean, mean + 0.02]}
        | {"low": spread and mean - spread, "high": spread and mean + spread, "n": 3}
        for method, mean in means.items()
    ]


def interference(seed: int) -> Interference:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(4, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    conflict, null = vectors @ vectors.T, np.full((4, 4), -1 / 3)
    np.fill_diagonal(null, 1)
    return Interference(
        class_names=tuple("abcd"),
        counts=np.arange(4, 0, -1),
        primary="backbone",
        conflict=conflict,
        null=null,
        norms=np.ones(4),
        loss=np.ones(4),
        groups={"backbone": conflict},
        group_null={"backbone": null},
        layers={},
        layer_null={},
        layer_norms={},
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publish") / "study"
    for place, (method, seed) in enumerate((m, s) for m in METHODS for s in (0, 1)):
        run = folder / "runs" / f"panels.quick.{method}.seed{seed}"
        (run / "interference").mkdir(parents=True)
        result = {"method": method, "seed": seed, "split_seed": seed, "epochs": 5, "best_epoch": 3}
        result |= {"train_images": 90, "parameters": 1000 + place, "classes": {"names": ["a", "b"]}}
        result |= {"test": {"macro_f1": {"value": 0.1 * place}}, "seconds": 3.5, "val": {"secret": 1}}
        (run / "result.json").write_text(json.dumps(result))
        (run / "split.json").write_text(json.dumps({"sha256": f"split{seed}", "train": ["private.png"]}))
        for stage in ("early", "heldout"):
            interference(place + 10 * (stage == "early")).save(run / "interference" / stage)
    command = "tailgrad compare /home/someone/photos baseline csba --out ./runs/x --set data.val=0.2"
    about = {"source": "/home/someone/photos", "methods": list(METHODS), "regime": "quick", "seeds": 2}
    about |= {"environment": {"torch": "2.12", "command": command}}
    (folder / "study.yaml").write_text(yaml.safe_dump(about))
    comparison = {"metric": "macro_f1", "rows": rows("macro_f1", {"baseline": 0.5, "csba": 0.6})}
    (folder / "comparison.json").write_text(json.dumps(comparison))
    return folder


@pytest.fixture(scope="module")
def kept(publish: Any, study: Path) -> dict[str, Any]:
    found: dict[str, Any] = publish.collect(study)
    return found


def test_no_path_of_the_machine_is_kept(kept: dict[str, Any]) -> None:
    text = json.dumps(kept, allow_nan=False)
    assert "someone" not in text
    assert "private" not in text
    assert kept["study"]["source"] == "photos"
    assert kept["command"] == "tailgrad compare photos baseline csba --out x --set data.val=0.2"


def test_every_run_is_kept_with_its_figures(kept: dict[str, Any], study: Path) -> None:
    results = [json.loads(path.read_text()) for path in sorted(study.glob("runs/*/result.json"))]
    assert [(run["method"], run["seed"]) for run in kept["runs"]] == [(m, s) for m in METHODS for s in (0, 1)]
    for run, result in zip(kept["runs"], results, strict=True):
        assert {key: result[key] for key in run} == run
        assert {"test", "parameters", "classes"} <= run.keys()
        assert not {"val", "seconds"} & run.keys()
    assert kept["split_sha256"] == ["split0", "split1"]
    assert kept["seeds"] == [0, 1]


def test_the_comparison_is_kept_word_for_word(kept: dict[str, Any], study: Path) -> None:
    assert kept["comparison"] == json.loads((study / "comparison.json").read_text())
    assert kept["what"] == "baseline, csba on photos"
    assert kept["environment"] == {"torch": "2.12"}


def test_provenance_is_complete(kept: dict[str, Any]) -> None:
    assert {"commit", "hardware", "versions", "date", "command"} <= kept.keys()
    assert len(kept["date"].split("-")) == 3
    assert kept["hardware"]["cores"] >= 1


def test_interference_is_kept_as_means_over_pairs(kept: dict[str, Any]) -> None:
    assert len(kept["interference"]) == 4
    for place, run in enumerate(kept["interference"]):
        assert list(run["stages"]) == ["early", "heldout"]
        for stage, found in run["stages"].items():
            known = interference(place + 10 * (stage == "early"))
            pairs = np.triu_indices(4, 1)
            assert found["mean"] == pytest.approx(known.conflict[pairs].mean())
            assert found["mean_null"] == pytest.approx(-1 / 3)
            assert found["mean_excess"] == pytest.approx(found["mean"] - found["mean_null"])


def drawn(chart: Callable[..., str], found: dict[str, Any], title: str = "A title") -> ElementTree.Element:
    return ElementTree.fromstring(chart(found, title))


def share(x: str) -> float:
    """A place on the chart back to a figure: 0 at the left end of the axis, 1 at its right end."""
    return (float(x) - 190) / (760 - 190 - 30)


MEANS = {"macro_f1": {"a": 0.31, "b": 0.62, "c": 0.455}, "accuracy": {"a": 0.8, "b": 0.7, "c": 0.75}}


@pytest.fixture
def figures() -> dict[str, Any]:
    return {"rows": [row for metric, means in MEANS.items() for row in rows(metric, means)]}


def test_marks_lie_where_the_figures_are(publish: Any, figures: dict[str, Any]) -> None:
    circles = drawn(publish.chart, figures).findall(f"{SVG}circle")
    means = [share(c.get("cx")) for c in circles if c.get("fill") != "none"]
    seeds = [share(c.get("cx")) for c in circles if c.get("fill") == "none"]
    assert means == pytest.approx([row["mean"] for row in figures["rows"]], abs=1e-4)
    assert seeds == pytest.approx([v for row in figures["rows"] for v in row["per_seed"]], abs=1e-4)


def test_intervals_reach_from_end_to_end(publish: Any, figures: dict[str, Any]) -> None:
    lines = drawn(publish.chart, figures).findall(f"{SVG}line")
    thick = [line for line in lines if line.get("stroke-width") == "3"]
    ticks = [line for line in lines if line.get("stroke-dasharray")]
    axes = [line for line in lines if line not in thick + ticks]
    assert [share(line.get("x1")) for line in ticks] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert all(line.get("x1") == line.get("x2") for line in ticks)
    ends = [(share(line.get("x1")), share(line.get("x2"))) for line in thick]
    assert ends == [pytest.approx((row["low"], row["high"]), abs=1e-4) for row in figures["rows"]]
    assert {(share(line.get("x1")), share(line.get("x2"))) for line in axes} == {(0.0, 1.0)}


def test_figures_outside_the_axis_are_cut_at_its_ends(publish: Any) -> None:
    wild = {"rows": rows("macro_f1", {"a": 0.01, "b": 0.99}, spread=0.4)}
    image = drawn(publish.chart, wild)
    places = [c.get("cx") for c in image.findall(f"{SVG}circle")]
    places += [line.get(end) for line in image.findall(f"{SVG}line") for end in ("x1", "x2")]
    assert all(-1e-9 <= share(place) <= 1 + 1e-9 for place in places)


def test_no_interval_is_drawn_where_there_is_none(publish: Any) -> None:
    image = drawn(publish.chart, {"rows": rows("macro_f1", {"a": 0.4, "b": 0.5}, spread=None)})
    assert not [line for line in image.findall(f"{SVG}line") if line.get("stroke-width")]


def test_every_figure_and_name_is_written(publish: Any, figures: dict[str, Any]) -> None:
    texts = [text.text for text in drawn(publish.chart, figures).findall(f"{SVG}text")]
    panels = [
        part
        for title, metric in (("Macro-F1", "macro_f1"), ("Accuracy", "accuracy"))
        for part in (title, *(t for m, v in MEANS[metric].items() for t in (m, f"{v:.3f}")))
    ]
    assert texts == ["A title", *panels, "0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]


@pytest.mark.parametrize("methods", [1, 2, 9])
def test_everything_lies_within_the_picture(publish: Any, methods: int) -> None:
    found = {"rows": rows("macro_f1", {f"m{i}": 0.5 for i in range(methods)})}
    image = drawn(publish.chart, found)
    _, _, width, height = map(float, image.get("viewBox").split())
    heights = [float(text.get("y")) for text in image.findall(f"{SVG}text")]
    assert 0 < min(heights) <= max(heights) <= height
    lines = image.findall(f"{SVG}line")
    rows_drawn = {line.get("y1") for line in lines if not line.get("stroke-dasharray")}
    assert len(rows_drawn) == methods
    assert image.find(f"{SVG}rect").get("width") == str(int(width))


def test_only_the_first_method_has_the_colour_of_reference(publish: Any, figures: dict[str, Any]) -> None:
    circles = drawn(publish.chart, figures).findall(f"{SVG}circle")
    colours = [c.get("fill") for c in circles if c.get("fill") != "none"]
    assert colours == [publish.REFERENCE, publish.OTHER, publish.OTHER] * 2


@pytest.mark.parametrize("name", ["<script>x</script>", 'a & "b"', "\u96ea's"])
def test_names_are_escaped(publish: Any, name: str) -> None:
    image = drawn(publish.chart, {"rows": rows("macro_f1", {name: 0.5})}, title=name)
    assert [text.text for text in image.findall(f"{SVG}text")].count(name) == 2
    assert image.get("aria-label").startswith(name)
    assert image.find(f".//{SVG}script") is None
