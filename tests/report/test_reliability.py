"""The parts of a report about reliability, and their figures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailgrad import InputError
from tailgrad.evaluate import Reliability, ReliabilityOptions, evaluate_reliability, thirds
from tailgrad.report import write_report
from tailgrad.report.blocks import Figure, Folded, Grid, Table, Text
from tailgrad.report.figures import class_coverage, group_curves
from tailgrad.report.folders import read_run
from tailgrad.report.reliability import TITLES, read_reliability, reliability_parts
from tailgrad.types import ClassInfo

SIZES = {"val": (30, 20, 12, 6, 3, 1), "test": (20,) * 6}


def drawn(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(len(sizes))
    target = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(size=(len(target), len(sizes))) + 1.5 * np.eye(len(sizes))[target], target


def add_predictions(folder: Path, sizes: dict[str, tuple[int, ...]] = SIZES) -> Path:
    tables = []
    for part, of_class in sizes.items():
        logits, target = drawn(of_class)
        columns = {
            "part": [part] * len(target),
            "target": target,
            "logits": logits.astype(np.float32).tolist(),
        }
        columns |= {"name": [f"{part}{i}" for i in range(len(target))], "predicted": logits.argmax(1)}
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), folder / "predictions.parquet")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., Any]) -> Path:
    place = tmp_path_factory.mktemp("runs") / "with-predictions"
    make_run(place, moments=())
    return add_predictions(place)


@pytest.fixture(scope="module")
def found(folder: Path) -> Reliability:
    return read_reliability(folder, read_run(folder).result)


def flat(blocks: Any) -> list[Any]:
    inner = [flat(block.blocks) if isinstance(block, Grid | Folded) else [block] for block in blocks]
    return [block for group in inner for block in group]


def test_what_is_read_is_what_the_logits_give(folder: Path, found: Reliability) -> None:
    result = read_run(folder).result
    classes = ClassInfo(tuple(result["classes"]["names"]), tuple(result["classes"]["counts"]))
    parts = [(z.astype(np.float32), y) for z, y in map(drawn, SIZES.values())]
    assert found == evaluate_reliability(parts[0], parts[1], classes)
    other = read_reliability(folder, result, {"alpha": 0.3, "answered": 0.5, "from": "a later version"})
    assert other.options == ReliabilityOptions(alpha=0.3, answered=0.5)


def test_parts_answer_in_words_tables_and_figures(folder: Path, found: Reliability) -> None:
    parts = reliability_parts(read_run(folder))
    assert tuple(part.title for part in parts) == TITLES
    for part in parts:
        assert isinstance(part.blocks[0], Text)
        for block in flat(part.blocks):
            if isinstance(block, Table):
                assert all(len(row) == len(block.header) for row in block.rows)
    rate = found.false_head.rate
    assert f"{100 * rate.value:.0f} % of the test images" in parts[1].blocks[0].text
    table = next(block for block in flat(parts[1].blocks) if isinstance(block, Table))
    assert table.rows[0][1] == f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"
    assert "3 of 6 classes have too few validation images" in parts[3].blocks[0].text


def test_the_page_holds_them_with_names_that_are_no_markup(folder: Path) -> None:
    html = write_report(folder).read_text(encoding="utf-8")
    for title in TITLES:
        assert f">{title}</h3>" in html
    assert "images of &lt;/script&gt;" in html
    assert '<script>alert("x")' not in html


def test_curves_are_the_counts_of_each_third(found: Reliability) -> None:
    logits, target = drawn(SIZES["test"])
    confidence = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).max(1)
    wrong = logits.argmax(1) != target
    answered, risk = group_curves(found)
    half = found.abstention.grid.index(0.5)
    kept = confidence >= np.sort(confidence)[::-1][len(target) // 2 - 1]
    groups = thirds(found.classes.counts)
    for figure, series in ((answered, 0), (risk, 1)):
        shown = check(figure)
        assert [line.name for line in shown.data] == list(groups)
        for line, classes in zip(shown.data, groups.values(), strict=True):
            own = np.isin(target, classes)
            wanted = (kept & own).sum() / own.sum() if series == 0 else wrong[kept & own].mean()
            assert line.y[half] == pytest.approx(wanted, abs=1e-4)


def test_coverage_marks_stand_over_training_images_and_hollow_ones_are_always_in(found: Reliability) -> None:
    shown = check(class_coverage(found))
    one, each = shown.data
    own = found.way("class")
    assert own is not None
    assert list(one.x) == sorted(found.classes.counts, reverse=True)
    assert [symbol.endswith("-open") for symbol in each.marker.symbol] == list(own.always)
    assert list(each.y) == pytest.approx([figure.value for figure in own.by_class], abs=1e-4)
    assert list(each.error_y.arrayminus) == pytest.approx(
        [figure.value - (figure.low or 0) for figure in own.by_class], abs=1e-4
    )
    assert shown.layout.shapes[0].y0 == pytest.approx(0.9)


def check(figure: Figure) -> go.Figure:
    json.dumps(figure.spec, allow_nan=False)
    assert figure.alt.endswith(".")
    return go.Figure(figure.spec)


def test_a_run_without_predictions_has_no_such_parts(tmp_path: Path, make_run: Callable[..., Any]) -> None:
    make_run(tmp_path / "bare", moments=())
    assert reliability_parts(read_run(tmp_path / "bare")) == ()


def test_what_cannot_be_read_is_said_in_the_report(tmp_path: Path, make_run: Callable[..., Any]) -> None:
    make_run(tmp_path / "run", moments=())
    add_predictions(tmp_path / "run", {"test": SIZES["test"]})
    (only,) = reliability_parts(read_run(tmp_path / "run"))
    assert "predictions of its val part, got none" in only.blocks[0].text
    with pytest.raises(InputError, match="val part"):
        read_reliability(tmp_path / "run", read_run(tmp_path / "run").result)
    (tmp_path / "run" / "predictions.parquet").write_bytes(b"PAR1 and nothing else")
    (only,) = reliability_parts(read_run(tmp_path / "run"))
    assert "Not known: " in only.blocks[0].text


def test_a_report_of_very_many_probabilities_names_the_command_instead(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailgrad.report.reliability._MOST_CELLS", 6 * sum(map(sum, SIZES.values())))
    assert len(reliability_parts(read_run(folder))) == len(TITLES)
    monkeypatch.setattr("tailgrad.report.reliability._MOST_CELLS", 6 * sum(map(sum, SIZES.values())) - 1)
    (only,) = reliability_parts(read_run(folder))
    assert "tailgrad reliability" in only.blocks[0].text


def test_few_validation_images_leave_the_sets_out_with_the_reason(
    tmp_path: Path, make_run: Callable[..., Any]
) -> None:
    make_run(tmp_path / "run", moments=())
    add_predictions(tmp_path / "run", {"val": (2, 1, 1, 1, 0, 0), "test": SIZES["test"]})
    parts = reliability_parts(read_run(tmp_path / "run"))
    assert len(parts[3].blocks) == 1
    assert "No sets: alpha must be at least 0.17 with 5 validation images" in parts[3].blocks[0].text


def test_of_rare_classes_without_test_images_nothing_is_claimed(
    tmp_path: Path, make_run: Callable[..., Any]
) -> None:
    make_run(tmp_path / "run", moments=())
    add_predictions(tmp_path / "run", {"val": SIZES["val"], "test": (20, 20, 20, 20, 0, 0)})
    parts = reliability_parts(read_run(tmp_path / "run"))
    said = [part.blocks[0].text for part in parts]
    assert "0 % of the test images" not in said[1]
    assert [text.count("an unknown share (no image)") for text in said] == [0, 1, 1, 2]
