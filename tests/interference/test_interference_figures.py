"""What the figures of a measurement show: their data, not their pixels."""

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.interference import Effect, Interference, measure
from tailgrad.interference.tiles import TiledInterference, tiles_of

NAMES = ("rare", "<b>common</b>", "middle")
ORDER = [1, 2, 0]  # most training examples first


@pytest.fixture(scope="module")
def result() -> Interference:
    """Three classes with figures whose meaning can be read off."""
    conflict = np.array([[1, -0.6, 0.2], [-0.6, 1, 0.1], [0.2, 0.1, 1]])
    null = np.array([[1, -0.1, 0.1], [-0.1, 1, 0.0], [0.1, 0.0, 1]])
    clean = np.array([[1, -0.7, np.nan], [-0.7, 1, 0.2], [np.nan, 0.2, 1]])
    return Interference(
        class_names=NAMES,
        counts=np.array([20, 20, 20]),
        primary="all",
        conflict=conflict,
        null=null,
        norms=np.ones(3),
        loss=np.ones(3),
        groups={"all": conflict},
        group_null={"all": null},
        layers={"a": conflict, "b": null},
        layer_null={"a": null, "b": null},
        layer_norms={},
        blocks={"x": conflict, "y": conflict},
        block_null={"x": null, "y": null},
        disattenuated=clean,
        interval=np.stack([clean - 0.3, clean + 0.3]),
        reliability=np.array([0.2, 0.9, np.nan]),
        contributions=np.array([[2.0, -3.0, 1.0], [0.5, 4.0, 0.0], [1.0, 1.0, 0.0]]),
        train_counts=np.array([5, 300, 40]),
        effect=Effect(
            "one <i>step</i>", np.array([-0.5, 0.9, 0.1]), np.arange(3.0), np.arange(3.0) + 1, None
        ),
    )


@pytest.fixture(scope="module")
def tiled() -> TiledInterference:
    units = np.array([[1.0, 0.0], [-0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    one = np.ones(3)
    return TiledInterference(tiles_of(("a", "b", "c"), one.astype(int), "all", one, one, units, units[::-1]))


@pytest.mark.parametrize("which", ["conflict", "null", "excess", "disattenuated"])
def test_matrices_are_drawn_most_frequent_class_first(result: Interference, which: str) -> None:
    drawn = result.figure(which)
    assert isinstance(drawn, go.Figure)
    np.testing.assert_array_equal(drawn.data[0].z, getattr(result, which)[np.ix_(ORDER, ORDER)])
    assert (drawn.data[0].zmin, drawn.data[0].zmax) == (-1, 1)
    assert drawn.data[0].colorscale[0][1] == "#b2182b"  # red where classes oppose
    for axis in (drawn.layout.xaxis, drawn.layout.yaxis):
        assert list(axis.ticktext) == ["&lt;b&gt;common&lt;/b&gt;", "middle", "rare"]


def test_the_excess_says_how_sure_it_is(result: Interference) -> None:
    cells = result.figure().data[0]
    words = cells.hovertext
    # noise-free -0.7, null -0.1, half-width 0.3 and 0.05 for the null
    assert words[0][2] == (
        "&lt;b&gt;common&lt;/b&gt; and rare: -0.50<br>noise-free, 90 %: -0.95 to -0.25, beyond noise"
        "<br>reliability 0.90 and 0.20"
    )
    assert "-0.15 to +0.55, within noise" in words[0][1]
    assert "cannot be told from noise" in words[1][2]
    assert [list(row) for row in cells.text] == [
        ["0.00", "0.10", "-0.50*"],
        ["0.10", "0.00", "0.10"],
        ["-0.50*", "0.10", "0.00"],
    ]


def test_an_excess_without_interval_says_so(result: Interference) -> None:
    drawn = replace(result, interval=None, reliability=None).figure("excess")
    assert "No interval was measured" in drawn.layout.title.subtitle.text
    assert not any("*" in text for row in drawn.data[0].text for text in row)


def test_contributions_are_shares_of_what_a_class_does_for_itself(result: Interference) -> None:
    cells = result.figure("contributions").data[0]
    wanted = np.array([[1, 0, 0.125], [np.nan, np.nan, np.nan], [-1.5, 0.5, 1]])
    np.testing.assert_allclose(cells.z, wanted)
    assert cells.hovertext[2][0] == "rare from &lt;b&gt;common&lt;/b&gt;: -1.50<br>contribution -3"
    assert list(cells.text[1]) == ["", "", ""]  # middle does nothing for itself


def test_layers_show_conflict_null_and_excess(result: Interference) -> None:
    lines = {line.name: list(line.y) for line in result.figure("layers").data}
    assert lines["conflict"] == pytest.approx([-0.1, 0])
    assert lines["null"] == pytest.approx([0, 0])
    assert lines["excess"] == pytest.approx([-0.1, 0])


def test_more_layers_than_can_be_read_are_drawn_by_block(result: Interference) -> None:
    many = {f"layer{k}": result.conflict for k in range(31)}
    deep = replace(result, layers=many, layer_null=many)
    assert list(deep.figure("layers").layout.xaxis.ticktext) == ["x", "y"]
    blank = replace(result, layers={"a": result.conflict * np.nan}, blocks={})
    assert np.isnan(blank.figure("layers").data[0].y).all()


def test_reliability_stands_beside_the_training_count(result: Interference) -> None:
    (bars,) = result.figure("reliability").data
    assert list(bars.x) == ["&lt;b&gt;common&lt;/b&gt; (300)", "middle (40)", "rare (5)"]
    np.testing.assert_array_equal(bars.y, [0.9, np.nan, 0.2])
    assert bars.text[2] == "rare, 20 examples measured, 5 in training"


def test_the_update_shows_alignment_and_both_changes(result: Interference) -> None:
    drawn = result.figure("update")
    assert {bars.name: list(bars.y) for bars in drawn.data} == {
        "alignment": [0.9, 0.1, -0.5],
        "predicted change": [1, 2, 0],
        "measured change": [2, 3, 1],
    }
    assert "one &lt;i&gt;step&lt;/i&gt;" in drawn.layout.title.text


def test_pairs_are_those_surest_to_oppose(result: Interference) -> None:
    bars = {one.name: one for one in result.figure("pairs").data}
    wanted = result.worst_pairs(3)
    for kind, drawn in bars.items():
        assert list(drawn.x) == [getattr(pair, kind) for pair in wanted]
    assert bars["excess"].y[0] == "rare and &lt;b&gt;common&lt;/b&gt;"


def test_many_classes_draw_their_worst_pairs(tiled: TiledInterference) -> None:
    drawn = tiled.figure()
    assert list(drawn.data[1].x) == [pair.conflict for pair in tiled.worst_pairs(3, by="excess")]
    with pytest.raises(InputError, match="got 'excess' .* choose from pairs"):
        tiled.figure("excess")


def test_a_figure_of_many_classes_stays_small() -> None:
    size = 300
    torch.manual_seed(0)
    data = [(torch.randn(2 * size, 4), torch.arange(2 * size) % size)]
    found = measure(nn.Linear(4, size), data, "all", folds=0)
    cells = found.figure("conflict").data[0]
    assert cells.z.shape == (size, size)
    assert cells.hovertext is None
    assert len(found.figure("conflict").layout.xaxis.ticktext) == 60


def test_what_was_not_measured_is_refused_with_what_there_is(result: Interference) -> None:
    bare = replace(result, effect=None, reliability=None, layers={}, blocks={})
    with pytest.raises(
        InputError, match="conflict, null, excess, disattenuated, contributions, pairs"
    ) as said:
        bare.figure("update")
    assert "update=Update.of_step" in str(said.value)
    with pytest.raises(InputError, match="which must be .* did you mean 'conflict'"):
        result.figure("conflikt")
