"""Reliability of a run's folder: its own options, those given, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tailgrad
from tailgrad import InputError
from tailgrad.evaluate import ReliabilityOptions
from tailgrad.files import write_text
from tailgrad.recipes.config import Config
from tailgrad.recipes.run_folder import RunFolder, config_text

VAL, TEST = (20, 12, 4), (10, 10, 10)


def rows(part: str, sizes: tuple[int, ...]) -> Any:
    target = np.repeat(np.arange(len(sizes)), sizes)
    logits = np.random.default_rng(0).normal(size=(len(target), len(sizes))) + 2 * np.eye(len(sizes))[target]
    return pa.table({"part": [part] * len(target), "target": target, "logits": logits.tolist()})


def write_run(folder: Path, *parts: Any, **settings: Any) -> Path:
    """What a finished run leaves, as far as reliability reads it."""
    write_text(folder / "config.yaml", config_text(Config(source="x", **settings)))
    classes = {"names": ["often", "some", "rare"], "counts": [90, 30, 5]}
    (folder / "result.json").write_text(json.dumps({"classes": classes, "status": "finished"}))
    (folder / "environment.json").write_text("{}")
    found = parts or (rows("val", VAL), rows("test", TEST))
    pq.write_table(pa.concat_tables(found), folder / "predictions.parquet")
    return folder


def test_options_come_from_the_configuration_unless_given(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reliability={"alpha": 0.2, "score": "cumulative"})
    assert tailgrad.reliability(run).options == ReliabilityOptions(0.2, "cumulative", 0.8)
    assert tailgrad.reliability(run, alpha=0.4).options == ReliabilityOptions(0.4, "cumulative", 0.8)
    given = tailgrad.reliability(str(run), score="hinge", answered=0.5)
    assert given.options == ReliabilityOptions(0.2, "hinge", 0.5)
    assert given.images == (sum(VAL), sum(TEST))
    assert given.classes.names == ("often", "some", "rare")


def test_nothing_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*")}
    tailgrad.reliability(run)
    assert {path: path.read_bytes() for path in run.rglob("*")} == before


def test_options_of_the_report_may_change_when_a_run_goes_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reliability={"alpha": 0.2})
    after = RunFolder(run).start(Config(source="x", reliability={"alpha": 0.05}), resume=True)
    assert after.reliability.alpha == 0.05


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": 1}, {"score": "aps"}, {"answered": 0}])
def test_a_recipe_with_an_impossible_option_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Config(source="x", reliability=settings)


def test_asked_for_sets_that_cannot_be_made_are_an_error_and_unasked_ones_a_remark(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows("val", (3, 2, 1)), rows("test", TEST))
    assert "with 6 validation images" in tailgrad.reliability(run).no_sets
    for asked in ({"alpha": 0.1}, {"score": "hinge"}):
        with pytest.raises(InputError, match="with 6 validation images, got 0.1"):
            tailgrad.reliability(run, **asked)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "config.yaml").unlink(), "got .* without config.yaml"),
        (lambda run: (run / "result.json").unlink(), "without a result; finish it by --resume"),
        (lambda run: (run / "predictions.parquet").unlink(), "train it with --resume"),
        (lambda run: pq.write_table(rows("test", TEST), run / "predictions.parquet"), "val part, got none"),
        (
            lambda run: pq.write_table(
                pa.concat_tables([rows("val", (5, 5)), rows("test", (5, 5))]), run / "predictions.parquet"
            ),
            r"one column a class \(3\), got 2",
        ),
    ],
)
def test_a_run_that_lacks_something_is_refused_with_the_remedy(tmp_path: Path, spoil: Any, said: str) -> None:
    run = write_run(tmp_path / "run")
    spoil(run)
    with pytest.raises(InputError, match=said):
        tailgrad.reliability(run)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alpha": 1.0}, r"alpha must be in \(0, 1\), got 1.0"),
        ({"score": "hing"}, "did you mean 'hinge'"),
        ({"answered": 1.5}, "answered must be in"),
    ],
)
def test_a_bad_option_is_named(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tailgrad.reliability(write_run(tmp_path / "run"), **given)
