from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailgrad.report.blocks import Figure, Text
from tailgrad.report.folders import Run, _records, read_run
from tailgrad.report.over_training import over_training_blocks


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return read_run(run_folder)


def record(names: tuple[str, ...], value: float, keep: bool = True) -> dict[str, Any]:
    cells = np.where(np.eye(len(names), dtype=bool), 1.0, value).tolist()
    return {"count": dict.fromkeys(names, 2.0), "conflict": cells if keep else None, "mean_conflict": value}


def test_a_line_of_a_monitor_belongs_to_the_epoch_that_follows() -> None:
    lines = [
        {"kind": "x", "step": 1},
        {"epoch": 1},
        {"kind": "x", "step": 2},
        {"kind": "x", "step": 3},
        {"epoch": 2},
    ]
    assert [(epoch, line["step"]) for epoch, line in _records(lines)] == [(1, 1), (2, 2), (2, 3)]


def test_frames_are_means_of_the_batches_of_an_epoch(run: Run) -> None:
    names = run.classes.names
    records = ((1, record(names, -0.5)), (1, record(names, -0.1)), (3, record(names, 0.25)))
    slider, curve = over_training_blocks(replace(run, records=records))
    assert isinstance(slider, Figure)
    frames = slider.spec["layout"]["meta"]["frames"]
    assert [frame["label"] for frame in frames] == ["epoch 1", "epoch 3"]
    assert [frame["z"][0][1] for frame in frames] == [-0.3, 0.25]
    assert slider.spec["data"][0]["z"] == frames[-1]["z"]
    assert "Mean over pairs -0.300 in epoch 1, +0.250 in epoch 3." in slider.alt
    assert (curve.spec["data"][0]["x"], curve.spec["data"][0]["y"]) == ([1, 3], [-0.3, 0.25])


def test_classes_that_were_in_no_batch_are_blank(run: Run) -> None:
    names = run.classes.names
    records = tuple((epoch, record(names[:2], 0.5)) for epoch in (1, 2))
    slider, _ = over_training_blocks(replace(run, records=records))
    drawn = np.array(slider.spec["data"][0]["z"], dtype=float)
    assert int((~np.isnan(drawn)).sum()) == 4


def test_many_classes_keep_no_matrix_and_no_run_without_a_monitor_shows_any(run: Run) -> None:
    records = ((1, record(run.classes.names, -0.2, keep=False)),)
    words, curve = over_training_blocks(replace(run, records=records))
    assert isinstance(words, Text)
    assert curve.spec["data"][0]["y"] == [-0.2]
    assert over_training_blocks(run) == ()


def test_a_long_training_is_thinned_to_forty_epochs(run: Run) -> None:
    records = tuple((epoch, record(run.classes.names, -epoch / 100)) for epoch in range(1, 91))
    frames = over_training_blocks(replace(run, records=records))[0].spec["layout"]["meta"]["frames"]
    assert len(frames) == 40
    assert (frames[0]["label"], frames[-1]["label"]) == ("epoch 1", "epoch 90")
