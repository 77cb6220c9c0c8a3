import json

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.evaluate import Estimate
from tailgrad.report.blocks import Figure
from tailgrad.report.figures import (
    CONFUSION,
    HARM,
    ClassValues,
    Curve,
    LayerSeries,
    Series,
    branch_shares,
    class_bars,
    curves,
    heat_map,
    layers,
    rank_line,
    reliability,
    seed_dots,
)
from tailgrad.types import ClassInfo

CLASSES = ClassInfo(("rare", "<b>common</b>", "middle"), (5, 300, 40))


def check(figure: Figure) -> go.Figure:
    """What every figure must be: valid for Plotly, plain JSON without NaN, described."""
    json.dumps(figure.spec, allow_nan=False)
    assert figure.title
    assert figure.alt
    return go.Figure(figure.spec)


def test_bars_are_ordered_by_training_images_and_carry_intervals() -> None:
    figures = (Estimate(0.2, 0.1, 0.5), Estimate(0.9, 0.8, 0.95), Estimate(0.5))
    drawn = check(class_bars(CLASSES, [Series("a", figures), Series("b", figures)]))
    assert list(drawn.data[0].x) == [0.9, 0.5, 0.2]
    assert list(drawn.data[0].error_x.array) == pytest.approx([0.05, 0, 0.3])
    assert list(drawn.data[0].error_x.arrayminus) == pytest.approx([0.1, 0, 0.1])
    assert drawn.layout.yaxis.ticktext[0] == "&lt;b&gt;common&lt;/b&gt; (300)"
    assert drawn.layout.yaxis.autorange == "reversed"


def test_many_classes_become_points() -> None:
    info = ClassInfo(tuple(map(str, range(41))), tuple(range(41)))
    figure = class_bars(info, [Series("a", tuple(Estimate(k / 41) for k in range(41)))])
    drawn = check(figure)
    assert drawn.data[0].type == "scatter"
    assert min(drawn.data[0].x) == 1  # a class without images still has a place on a logarithmic axis
    assert "bar" not in figure.meaning


def test_heat_map_moves_rows_and_columns_together() -> None:
    matrix = np.array([[1, 0.1, 0.2], [0.1, 1, -0.7], [0.2, -0.7, 1]])
    figure = heat_map("Conflict", "Words.", matrix, CLASSES)
    cells = check(figure).data[0]
    assert [list(row) for row in cells.z] == [[1, -0.7, 0.1], [-0.7, 1, 0.2], [0.1, 0.2, 1]]
    assert (cells.zmin, cells.zmax) == (-1, 1)
    assert cells.colorscale[0][1] == "#b2182b"  # red where classes oppose
    assert "common</b> and middle, -0.70" in figure.alt
    assert "Blank" not in figure.meaning


def test_heat_map_says_what_is_blank_and_survives_only_blanks() -> None:
    figure = heat_map("Conflict", "Words.", np.full((3, 3), np.nan), CLASSES)
    assert check(figure).data[0].z[0] == [None, None, None]
    assert figure.meaning.endswith("Blank: could not be measured.")
    assert figure.alt == "No value off the diagonal."


def test_confusion_names_the_most_frequent_error() -> None:
    shares = np.array([[0.5, 0.4, 0.1], [0, 1, 0], [0.2, 0.2, 0.6]])
    assert (
        "rare taken for <b>common</b>, 40%" in heat_map("Confusion", "", shares, CLASSES, scale=CONFUSION).alt
    )


def test_harm_keeps_its_direction() -> None:
    shares = np.array([[1, -0.5, 0.2], [0.1, 1, -2], [0.3, 0.3, 1]])
    figure = heat_map("Harm", "", shares, CLASSES, scale=HARM)
    assert figure.alt == "Most hurt: <b>common</b> by middle, -2.00."
    drawn = check(figure)
    assert drawn.layout.xaxis.title.text == "the class that pulls"
    assert drawn.data[0].z[0][1] == -2  # rows and columns: common, middle, rare
    assert heat_map("Harm", "", np.eye(3), CLASSES, scale=HARM).alt == "No class hurts another."


def test_reliability_is_drawn_over_the_training_count() -> None:
    series = [ClassValues("a", np.array([0.1, 0.9, np.nan])), ClassValues("b", np.full(3, np.nan))]
    figure = reliability(CLASSES, series)
    drawn = check(figure)
    assert list(drawn.data[0].x) == [300, 40, 5]
    assert list(drawn.data[0].y) == [0.9, None, 0.1]
    assert drawn.layout.xaxis.type == "log"
    assert "a: least reliable rare (0.10), most <b>common</b> (0.90)." in figure.alt
    assert "b: no class's gradient can be told from noise." in figure.alt


def test_pooled_heat_map_leaves_the_diagonal_out() -> None:
    info = ClassInfo(tuple(map(str, range(120))), tuple(range(120, 0, -1)))
    cosines = np.where(np.eye(120, dtype=bool), 1.0, -0.25)
    cells = check(heat_map("Conflict", "", cosines, info)).data[0]
    assert {value for row in cells.z for value in row} == {-0.25}
    assert len(cells.z) == 60


@given(st.lists(st.text(max_size=40), min_size=2, max_size=12))
def test_no_two_classes_share_a_row_whatever_their_names(names: list[str]) -> None:
    info = ClassInfo(tuple(names), (1,) * len(names))
    cells = heat_map("Conflict", "", np.eye(len(names)), info).spec["data"][0]
    assert len(set(cells["y"])) == len(names)
    assert not any("<" in label for label in cells["y"])


def test_layers_missing_in_one_model_leave_a_gap() -> None:
    one = LayerSeries("one", {"a": -0.1, "b": -0.2}, {"a": 0.0, "b": float("nan")})
    two = LayerSeries("two", {"b": -0.3, "c": 0.4}, {"b": -0.1, "c": 0.2})
    drawn = check(layers([one, two]))
    assert list(drawn.data[0].y) == [0.0, None, None]
    assert list(drawn.data[3].y) == [None, -0.3, 0.4]
    assert list(drawn.layout.xaxis.ticktext) == ["a", "b", "c"]


def test_branches_mark_the_null() -> None:
    drawn = check(branch_shares("csba", np.array([[0.2, 0.6, np.nan], [0.8, 0.4, np.nan]]), CLASSES))
    assert drawn.layout.shapes[0].y0 == drawn.layout.shapes[0].y1 == 0.5
    assert list(drawn.data[0].y) == [0.6, None, 0.2]


def test_curves_share_a_legend_entry_and_mark_the_kept_epoch() -> None:
    lines = [Curve("csba", (1, 2, 3), (0.1, None, 0.3), best=3), Curve("csba", (1, 2), (0.2, 0.4), best=9)]
    drawn = check(curves("Score", "", "score", lines))
    assert [trace.mode for trace in drawn.data] == ["lines", "markers", "lines"]
    assert [trace.showlegend for trace in drawn.data] == [True, False, False]
    assert (drawn.data[1].x[0], drawn.data[1].y[0]) == (3, 0.3)


def test_ranks_are_joined_beside_the_methods_that_cannot_be_told_apart() -> None:
    ranks = {"<b>a</b>": 1.2, "b": 2.1, "c": 2.7, "d": 4.0}
    figure = rank_line("macro-F1", ranks, [["<b>a</b>", "b"], ["b", "c"], ["d"]], 1.0)
    drawn = check(figure)
    assert [trace.x[0] for trace in drawn.data] == [1.2, 2.1, 2.7, 4.0]
    assert drawn.layout.yaxis.ticktext[0] == "&lt;b&gt;a&lt;/b&gt;"
    bars = [(bar.y0, bar.y1) for bar in drawn.layout.shapes]
    assert bars == [pytest.approx((-0.2, 1.2)), pytest.approx((0.8, 2.2))]
    assert all(bar.x0 == bar.x1 > 4.0 for bar in drawn.layout.shapes)  # beside the marks, never over them
    assert len({bar.x0 for bar in drawn.layout.shapes}) == 2
    assert "Not to be told apart: <b>a</b>, b; b, c." in figure.alt


def test_dots_show_every_seed_and_stay_in_range_with_a_wild_interval() -> None:
    wild = {"method": "a", "mean": 0.6, "low": -0.7, "high": 1.9, "per_seed": [0.5, 0.7]}
    one = {"method": "b", "mean": 0.4, "low": None, "high": None, "per_seed": [0.4]}
    drawn = check(seed_dots("macro-F1", [wild, one]))
    assert list(drawn.layout.xaxis.range) == pytest.approx([-0.02, 1.02])
    assert list(drawn.data[0].x) == [0.5, 0.7]
    assert drawn.data[3].error_x.array is None
