"""Each command on good input: what it prints, what it writes, and its one JSON object."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailgrad.cli.app import COMMANDS
from tailgrad.cli.diagnose import _intervals
from tailgrad.interference import Interference
from tailgrad.interference.tiles import TiledInterference, tiles_of
from tailgrad.recipes import catalogue
from tailgrad.recipes.run_folder import read_json


def strict(text: str) -> Any:
    """One JSON object and nothing else, without the numbers that JSON does not have."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def in_json(cli: Any, photos: Path, fast: list[str], run: Path, study: Path, here: Path) -> Any:
    """A function from the name of a command to the JSON object that it prints."""
    words = {
        "audit": ["audit", photos, "--no-near"],
        "new": ["new", photos, "--no-near", "--out", here / "new.yaml"],
        "watch": ["watch", run],
        "doctor": ["doctor"],
        "train": ["train", photos, "--recipe", "quick", *fast, "--out", here / "run"],
        "diagnose": ["diagnose", run],
        "compare": ["compare", photos, "--regime", "quick", *fast, "--seeds", 1, "--out", here / "study"],
        "table": ["table", study],
        "report": ["report", run],
        "reliability": ["reliability", run],
        "predict": ["predict", run, photos / "thin"],
        "export": ["export", run, "--onnx", "--out", here / "model.onnx"],
        "methods": ["methods"],
        "audit_claims": ["audit-claims", "csba-cifar10-lt"],
        "study": ["study", here / "mine.yaml", *fast, "--out", here / "claims"],
        "reproduce": ["reproduce"],
    }

    (here / "mine.yaml").write_text(f"source: {photos}\nregimes: [quick]\nmethods: [ce]\nseeds: 1\n")

    def call(name: str) -> Any:
        done = cli(*words[name], "--json")
        assert done.status == 0, done.err
        return strict(done.out)

    return call


KEYS = {
    "audit": {"images", "classes", "imbalance_factor", "unreadable", "exact", "recommendation"},
    "new": {"recipe", "command", "settings", "audit"},
    "watch": {"name", "state", "epoch", "losses", "left"},
    "doctor": {"fine", "facts", "findings"},
    "train": {"folder", "test", "val", "classes", "status", "epochs"},
    "diagnose": {"conflict", "null", "excess", "class_names", "counts", "advice"},
    "compare": {"folder", "rows", "paired", "metric", "conclusion"},
    "table": {"table", "rows", "paired", "metric", "conclusion"},
    "report": {"report"},
    "reliability": {"classes", "calibration", "false_head", "abstention", "conformal"},
    "predict": {"predictions"},
    "export": {"file", "bytes", "description"},
    "methods": {"entries"},
    "audit_claims": {"title", "verdict", "table", "gain"},
    "study": {"folder", "claims", "groups", "commit"},
    "reproduce": {"studies"},
}


@pytest.mark.parametrize("name", [command.__name__ for command in COMMANDS])
def test_json_is_one_object_on_standard_output(in_json: Any, name: str) -> None:
    assert KEYS[name] <= set(in_json(name))


def test_json_stays_pure_in_a_real_process(photos: Path, fast: list[str], here: Path) -> None:
    words = ["train", str(photos), "--recipe", "quick", *fast, "--out", "run", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tailgrad", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert strict(done.stdout)["folder"] == "run"
    assert "test macro-F1" in done.stderr


def test_audit_prints_counts_and_the_next_command(cli: Any, photos: Path) -> None:
    done = cli("audit", photos)
    assert (done.status, done.err) == (0, "")
    assert re.search(r"round +12 +44.4%", done.out)
    assert f"tailgrad compare {photos} --methods ce,balanced_softmax,csba" in done.out


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--recipe", "quick"], "photos.quick.csba.split0.seed0"),
        (["--regime", "quick", "--method", "focal"], "photos.quick.focal.split0.seed0"),
        (["--recipe", "quick", "--method", "ce", "--set", "seed=3"], "photos.quick.ce.split3.seed3"),
    ],
)
def test_train_names_its_folder_by_what_is_in_it(
    cli: Any, photos: Path, fast: list[str], here: Path, words: list[str], name: str
) -> None:
    done = cli("train", photos, *words, *fast)
    assert done.status == 0, done.err
    assert [path.name for path in (here / "runs").iterdir()] == [name]
    assert done.out.splitlines()[-1] == f"report: runs/{name}/report.html"
    assert "about" in done.err, "the time needed is said before the first epoch"


def test_train_prints_every_class_with_intervals_on_one_line(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    done = cli("train", photos, "--recipe", "quick", *fast, "--out", "run", "--focus", "thin")
    result = read_json(here / "run" / "result.json")
    for row in result["test"]["classes"]:
        line = next(line for line in done.out.splitlines() if line.startswith(row["name"]))
        assert line.split()[1:3] == [str(row["train_count"]), str(row["support"])]
        assert len(re.findall(r"\d\.\d\d \[[\d.]+-[\d.]+\]", line)) == 3
    f1 = result["focus"]["f1"]["value"]
    assert f"thin: F1 {f1:.3f} [" in done.out
    again = cli("train", photos, "--recipe", "quick", *fast, "--out", "run", "--focus", "thin", "--resume")
    assert again.out == done.out
    assert "finished; nothing to do" in again.err


def test_time_used_up_prints_the_command_that_goes_on(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    long = ["train", photos, "--recipe", "quick", *fast, "--set", "train.epochs=2", "--out", "run"]
    stopped = cli(*long, "--max-minutes", "0.00001")
    assert stopped.status == 0
    command = next(line for line in stopped.out.splitlines() if line.startswith("tailgrad train"))
    assert command.endswith(" --max-minutes 0.00001 --resume")
    assert "after 1 epoch." in stopped.out
    assert cli(*command.split()[1:]).status == 0
    assert read_json(here / "run" / "result.json")["epochs"] == 2


def test_diagnose_a_run_prints_pairs_null_and_excess(cli: Any, run: Path, here: Path) -> None:
    done = cli("diagnose", run, "--out", "found", "--part", "train")
    saved = Interference.load(here / "found")
    assert saved.train_counts.tolist() == read_json(run / "result.json")["classes"]["counts"]
    rows = [line.split()[:5] for line in done.out.splitlines()]
    for first, second, *figures in saved.worst_pairs(6):
        assert [first, second, *(f"{figure:+.3f}" for figure in figures)] in rows
    assert "speak for" not in done.out, "training images at convergence are no grounds for advice"
    assert done.out.splitlines()[-1] == "saved: found.npz, found.json"


def test_diagnose_shows_intervals_where_there_are_any() -> None:
    conflict = np.array([[1.0, -0.6, 0.2], [-0.6, 1.0, 0.1], [0.2, 0.1, 1.0]])
    ends = np.stack([conflict - 0.1, conflict + 0.3])
    ends[:, 0, 2] = np.nan
    sure = _intervals(SimpleNamespace(class_names=("a", "b", "c"), excess_interval=ends))
    assert sure("a", "b") == "[-0.700, -0.300]"
    assert sure("a", "c") == ""
    assert _intervals(SimpleNamespace(class_names=("a",), excess_interval=None))("a", "a") == ""
    units = np.eye(3, dtype=np.float32)
    one = np.ones(3)
    many = TiledInterference(tiles_of(("a", "b", "c"), one.astype(int), "all", one, one, units, units))
    assert _intervals(many)("a", "b") == ""


def test_diagnose_a_run_advises_only_known_methods(cli: Any, run: Path) -> None:
    done = cli("diagnose", run)
    assert "What these figures speak for\n1. " in done.out
    advice = strict(cli("diagnose", run, "--json").out)["advice"]
    known = {entry.name for entry in catalogue() if entry.kind == "method"}
    told = [one for one in advice if one["kind"] not in {"too few samples", "nothing to conclude"}]
    assert all(one["remedy"] in known | {""} for one in told)
    kept = read_json(run / "result.json")["advice"]
    assert {one["kind"] for one in kept} == {one["kind"] for one in advice}
    of_training = strict(cli("diagnose", run, "--part", "train", "--json").out)
    assert of_training["advice"] == []


def test_diagnose_a_source_with_random_and_with_given_weights(
    cli: Any, photos: Path, run: Path, fast: list[str]
) -> None:
    few = [*fast, "--set", "interference.max_per_class=2"]
    random = cli("diagnose", photos, "--model", "resnet32", *few)
    assert random.status == 0, random.err
    assert "random weights" in random.err
    weights = run / "checkpoint" / "weights.safetensors"
    head = ["--set", "head.name=csba"]
    given = cli("diagnose", photos, "--model", "tripath", "--weights", weights, *head, *few, "--json")
    assert "random weights" not in given.err
    assert strict(given.out)["class_names"] == ["round", "square", "thin"]


def test_compare_prints_a_row_a_method_and_grows_on_resume(
    cli: Any, photos: Path, fast: list[str], study: Path, here: Path
) -> None:
    shutil.copytree(study, here / "study")
    words = ["compare", photos, "--regime", "quick", *fast, "--out", "study"]
    more = cli(*words, "--seeds", 1, "--methods", "baseline,csba,ce", "--resume")
    assert more.status == 0, more.err
    assert more.err.count("test macro-F1") == 1, "the two finished runs are kept"
    assert "With one seed nothing can be concluded" in more.out
    rows = [line.split()[0] for line in more.out.splitlines() if re.match(r"(baseline|csba|ce) ", line)]
    assert rows == ["baseline", "csba", "ce"]
    assert "one seed only" in more.out
    other = cli(*words, "--focus", "thin", "--resume")
    assert re.search(r"focus must stay as the study .* was started", other.error)


def test_compare_takes_a_method_file_that_sets_its_own_regime(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    Path("slow.v2.yaml").write_text("description: mine\nhead: {name: linear}\noptim: {lr: 0.0001}\n")
    words = ["compare", photos, "--regime", "quick", "--methods", "csba,slow.v2.yaml", "--seeds", 1, *fast]
    assert "or allow it with compare --own-regime" in cli(*words).error
    done = cli(*words, "--own-regime", "--json")
    assert done.status == 0, done.err
    assert [row["method"] for row in strict(done.out)["rows"]][:2] == ["csba", "slow.v2"]
    assert "optim.lr" in done.err, "the keys in which the methods differ are said"


@pytest.mark.parametrize("style", ["md", "csv", "latex"])
def test_tables_to_paste(cli: Any, study: Path, style: str) -> None:
    done = cli("table", study, "--format", style, "--metric", "accuracy")
    assert (done.status, done.err) == (0, "")
    value = read_json(study / "comparison.json")["rows"]
    wanted = next(r["mean"] for r in value if (r["method"], r["metric"]) == ("csba", "accuracy"))
    line = next(line for line in done.out.splitlines() if "csba" in line)
    assert f"{wanted:.3f}" in line
    if style == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(done.out))}) == 1


@pytest.mark.parametrize("kind", ["run", "study"])
def test_report_writes_the_page_again(
    cli: Any, request: pytest.FixtureRequest, kind: str, here: Path
) -> None:
    shutil.copytree(request.getfixturevalue(kind), here / "copy")
    (here / "copy" / "report.html").unlink(missing_ok=True)
    assert cli("report", "copy").out == "report: copy/report.html\n"
    assert (here / "copy" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_report_holds_images_unless_told_not_to(cli: Any, run: Path, here: Path) -> None:
    shutil.copytree(run, here / "copy")
    for words, shown in (([], True), (["--no-images"], False)):
        assert cli("report", "copy", *words).status == 0
        page = (here / "copy" / "report.html").read_text(encoding="utf-8")
        assert ('<img src="data:image/' in page) == shown


def test_predict_files_and_folders_with_an_unreadable_one_among_them(
    cli: Any, run: Path, photos: Path, here: Path
) -> None:
    long = here / ("deep" * 20)
    shutil.copytree(photos / "thin", long)
    (long / "bad.jpg").write_bytes(b"no image")
    (long / "notes.txt").write_text("passed over")
    words = ["predict", run, photos / "round" / "00.png", long]
    done = cli(*words)
    assert done.status == 0
    rows = done.out.splitlines()[2:]
    assert len(rows) == 7
    assert all(re.fullmatch(r"\S+\.png +(round|square|thin) +[01]\.\d{3}", row) for row in rows)
    assert re.fullmatch(r"unreadable: \S+/bad.jpg \(8 bytes that are no .* image\)\n", done.err)
    found = strict(cli(*words, "--json").out)["predictions"]
    assert [row["file"].rsplit("/", 1)[1] for row in found if row["error"]] == ["bad.jpg"]
    assert [row["probability"] for row in found if row["error"]] == [None]
    assert all(math.isclose(sum(row["probabilities"]), 1) for row in found if not row["error"])


def test_methods_names_every_kind_once_and_everything_in_it(cli: Any, in_json: Any) -> None:
    shown = cli("methods").out
    entries = in_json("methods")["entries"]
    for kind in {entry["kind"] for entry in entries}:
        assert len(re.findall(rf"(?m)^{kind} ", shown)) == 1
    for entry in entries:
        assert re.search(rf"(?m)\s{re.escape(entry['name'])} ", shown)
    assert "``" not in shown
