"""More than 2,000 classes: no matrix is kept, and what is kept agrees with whole matrices."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference import Extras, Interference, TiledInterference, Update, class_gradients, measure
from tailgrad.interference import tiles as tiles_module
from tailgrad.interference.tiles import tiles_of, unit_rows

MANY = 2100
Data = list[tuple[Tensor, Tensor]]


def _cosines(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1)
    with np.errstate(invalid="ignore"):
        return (rows @ rows.T) / np.outer(lengths, lengths)


# Brute force at a few classes.


@pytest.fixture(params=[3, 8, 100])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """23 classes, one without a gradient, in tiles that divide them unevenly, evenly or not at all."""
    monkeypatch.setattr(tiles_module, "_TILE", request.param)
    monkeypatch.setattr(tiles_module, "WORST", 40)
    random = np.random.default_rng(request.param)
    rows, null = random.normal(size=(2, 23, 6)) + 0.3
    rows[5] = null[5] = 0
    counts, norms = random.integers(1, 50, 23), np.linalg.norm(rows, axis=1)
    names = tuple(f"c{k}" for k in range(23))
    kept = tiles_of(names, counts, "all", norms, np.ones(23), unit_rows(rows), unit_rows(null))
    return {"kept": kept, "rows": rows, "counts": counts, "conflict": _cosines(rows), "null": _cosines(null)}


def test_mean_and_spread_are_those_of_the_pairs(small: dict[str, Any]) -> None:
    upper = np.triu_indices(23, 1)
    conflict, null = small["conflict"][upper], small["null"][upper]
    result = TiledInterference(small["kept"])
    assert result.mean == pytest.approx(np.nanmean(conflict), abs=1e-6)
    assert result.std == pytest.approx(np.nanstd(conflict), abs=1e-6)
    assert result.mean_null == pytest.approx(np.nanmean(null), abs=1e-6)
    assert result.mean_excess == pytest.approx(np.nanmean(conflict - null), abs=1e-6)


def test_the_worst_pairs_are_those_of_smallest_conflict(small: dict[str, Any]) -> None:
    rows, columns = np.triu_indices(23, 1)
    order = np.argsort(small["conflict"][rows, columns])[:40]
    expected = list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))
    assert list(map(tuple, small["kept"].pairs.tolist())) == expected
    result = TiledInterference(small["kept"])
    assert [(p.first, p.second) for p in result.worst_pairs(3, by="conflict")] == [
        (f"c{i}", f"c{j}") for i, j in expected[:3]
    ]
    assert result.worst_pairs(9) == result.worst_pairs(9, by="excess")
    excess = small["conflict"] - small["null"]
    smallest = min(excess[i, j] for i, j in expected)
    assert result.worst_pairs(1, by="excess")[0].excess == pytest.approx(smallest, abs=1e-6)


def test_row_sums_say_who_descends(small: dict[str, Any]) -> None:
    kept, rows = small["kept"], small["rows"]
    expected = np.nansum(small["conflict"], axis=1)
    expected[5] = np.nan
    np.testing.assert_allclose(kept.row_sums, expected, atol=1e-5)
    step = (small["counts"][:, None] * rows).sum(0) / small["counts"].sum()
    with np.errstate(invalid="ignore"):
        along = rows @ step / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(kept.plain, along, atol=1e-5)


@pytest.mark.parametrize("kind", ["conflict", "null", "excess"])
def test_blocks_are_parts_of_the_whole_matrix(kind: str, small: dict[str, Any]) -> None:
    whole = {**small, "excess": small["conflict"] - small["null"]}[kind]
    part = TiledInterference(small["kept"]).block([7, 5, 0], np.array([0, 22]), kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(part, whole[np.ix_([7, 5, 0], [0, 22])], atol=1e-6)


BAD_INDICES = [
    ([5000], [0], r"rows must hold class indices in \[0, 3\), got 5000; count"),
    ([0], [1, -1], r"columns must hold class indices in \[0, 3\), got -1; count"),
    ([0.5], [0], r"rows must hold class indices in \[0, 3\), got \[0.5\]"),
    (1, [0], r"rows must hold class indices in \[0, 3\), got 1"),
    ([True, False, True], [0], r"rows must hold class indices"),
]


@pytest.mark.parametrize(("rows", "columns", "message"), BAD_INDICES)
def test_a_block_outside_the_classes_is_refused(rows: Any, columns: Any, message: str) -> None:
    units, one = np.eye(3, dtype=np.float32), np.ones(3)
    tiled = TiledInterference(tiles_of(("a", "b", "c"), one.astype(int), "all", one, one, units, units))
    whole = measure(nn.Linear(3, 3), [(torch.eye(3), torch.arange(3))], "all")
    for result in (tiled, whole):
        with pytest.raises(InputError, match=message):
            result.block(rows, columns)
        assert result.block([], [1]).shape == (0, 1)


def test_the_summary_lists_only_pairs_that_oppose() -> None:
    units, one = np.eye(3, dtype=np.float32), np.ones(3)
    names = ("a", "b", "c")
    null = unit_rows(np.array([[1.0, 0, 0], [1, 1, 0], [1, 1, 1]]))
    below = TiledInterference(tiles_of(names, one.astype(int), "all", one, one, units, null))
    assert "Most opposed beyond that null: b and c +0.00 (null +0.82, excess -0.82)" in below.summary()
    none = TiledInterference(tiles_of(names, one.astype(int), "all", one, one, null, units))
    assert (
        "No pair of the 3 of smallest conflict opposes beyond that null: the smallest excess is +0.58."
        in (none.summary())
    )


# A network of 2,100 classes.


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, Data]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, MANY))
    target = torch.arange(40).repeat(2)
    return model, [(torch.randn(80, 6) + target[:, None] / 20, target)]


@pytest.fixture(scope="module")
def many(network: tuple[nn.Module, Data]) -> TiledInterference:
    result = measure(network[0], network[1], sketch=64)
    assert isinstance(result, TiledInterference)
    return result


def test_matrices_are_refused_and_blocks_are_named(many: TiledInterference) -> None:
    for name in ("conflict", "null", "excess", "excess_interval", "groups", "layers", "blocks"):
        with pytest.raises(InputError, match=rf"{name} must stay within 2000 .*\.block\(rows, cols\)"):
            getattr(many, name)
    assert many.interval is many.contributions is many.effect is many.control is None
    with pytest.raises(AttributeError, match="unknown"):
        _ = many.unknown


def test_a_block_holds_cosines_of_the_class_gradients(
    many: TiledInterference, network: tuple[nn.Module, Data]
) -> None:
    gradients = class_gradients(*network, sketch=64)
    rows, columns = [0, 7, 39], [7, 12, 2050]
    norms = gradients.norms()
    with np.errstate(invalid="ignore"):
        expected = gradients.block(rows, columns) / np.outer(norms[rows], norms[columns])
    found = many.block(rows, columns)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isnan(found[:, 2]).all()
    assert np.isfinite(found[:, :2]).all()
    np.testing.assert_allclose(many.norms[:40], norms[:40], rtol=1e-5)


def test_the_summary_names_what_is_served_how(many: TiledInterference) -> None:
    words = many.summary()
    assert words.startswith("Mean gradients of 2100 classes compared over 80 examples (2 to 2 a class)")
    assert "2100 classes: matrices are served in blocks, not kept." in words
    assert "Asked for, but not measured above 2000 classes: intervals of the conflict (folds)." in words
    assert f"{many.mean:+.3f}" in words
    assert f"{many.mean_null:+.3f}" in words


def test_figures_need_no_matrix(many: TiledInterference) -> None:
    assert len(many.figure().data) > 0
    with pytest.raises(InputError, match="which"):
        many.figure("conflict")


def test_a_saved_measurement_comes_back_by_either_name(many: TiledInterference, tmp_path: Path) -> None:
    many.save(tmp_path / "many")
    for kind in (Interference, TiledInterference):
        again = kind.load(tmp_path / "many")
        assert isinstance(again, TiledInterference)
        assert again.class_names == many.class_names
        assert again.notes == many.notes
        for name in ("units", "null_units", "pairs", "row_sums", "reliability"):
            np.testing.assert_array_equal(getattr(again.tiles, name), getattr(many.tiles, name))
        assert again.summary() == many.summary()
    assert json.loads(json.dumps(many.to_dict(), allow_nan=False))["mean"] == many.mean


def test_whole_matrices_are_not_read_as_tiles(tmp_path: Path) -> None:
    measure(nn.Linear(3, 3), [(torch.eye(3), torch.arange(3))], "all").save(tmp_path / "few")
    with pytest.raises(
        InputError, match="must hold Tiles, got 'Interference'; Interference.load reads either"
    ):
        TiledInterference.load(tmp_path / "few")


def _step(model: nn.Module) -> Update:
    return Update({name: torch.ones_like(p) for name, p in model.named_parameters()})


def test_what_was_asked_for_and_is_not_measured_is_said(network: tuple[nn.Module, Data]) -> None:
    model, data = network
    asked = Extras(
        control=True,
        training_batches=data,
        class_weights=[1.0] * MANY,
        train_counts=np.ones(MANY, int).tolist(),
    )
    result = measure(model, data, folds=0, sketch=64, update=_step(model), extras=asked)
    assert (
        "Asked for, but not measured above 2000 classes: the effect of the update, the class-balanced "
        "control, directional noise (training_batches), contributions and descent (train_counts, "
        "class_weights)."
    ) in result.notes
    plain = measure(model, data, folds=0, sketch=64)
    assert not any("Asked for" in note for note in plain.notes)


@pytest.mark.parametrize("name", ["class_weights", "train_counts"])
def test_lengths_are_checked_above_2000_classes_too(name: str, network: tuple[nn.Module, Data]) -> None:
    extras = replace(Extras(), **{name: [1, 2, 3]})
    with pytest.raises(
        InputError, match=rf"{name} must hold one number for each of 2100 classes, got shape \[3\]"
    ):
        measure(*network, extras=extras)


def test_bad_input_is_refused_above_2000_classes_too(network: tuple[nn.Module, Data]) -> None:
    model, data = network
    with pytest.raises(InputError, match="an update with other shapes"):
        measure(model, data, update=Update({"0.weight": torch.ones(3)}))
    with pytest.raises(InputError, match="at least two classes"):
        measure(model, [(data[0][0], data[0][1] * 0)])
