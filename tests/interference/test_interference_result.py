"""The result: summaries, ranking, and the way to disk and back."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from tailgrad.checks import InputError
from tailgrad.evaluate import holm, thirds
from tailgrad.interference import Interference, measure
from tailgrad.interference.effect import Effect
from tailgrad.interference.significance import opposed_p, rare_and_frequent
from tailgrad.models import create_model
from tailgrad.report.advice import advise
from tailgrad.report.findings import conflict

HARD = ("a/b", 'quote "', "<b>&", "猫" * 100, "..", "plain")


def _result(conflict: np.ndarray, null: np.ndarray | None = None, **changes: object) -> Interference:
    num_classes = len(conflict)
    null = np.eye(num_classes) if null is None else null
    base = Interference(
        class_names=tuple("abcdefgh"[:num_classes]),
        counts=np.arange(num_classes, 0, -1) * 10,
        primary="all",
        conflict=conflict,
        null=null,
        norms=np.ones(num_classes),
        loss=np.ones(num_classes),
        groups={"all": conflict},
        group_null={"all": null},
        layers={"fc": conflict},
        layer_null={"fc": null},
        layer_norms={"fc": np.arange(1.0, num_classes + 1)},
    )
    return replace(base, **changes)


def _symmetric(upper: list[float], size: int) -> np.ndarray:
    matrix = np.eye(size)
    matrix[np.triu_indices(size, 1)] = upper
    return matrix + matrix.T - np.eye(size)


@pytest.fixture(scope="module")
def measured() -> Interference:
    torch.manual_seed(0)
    model, inputs = create_model("resnet32", num_classes=6, head="csba"), torch.rand(10, 3, 32, 32)
    with torch.no_grad():
        for _ in range(20):
            model(inputs)  # running statistics: without them an untrained network's logits saturate
    return measure(model, [(inputs, torch.arange(10) % 5)], class_names=HARD)


def _assert_equal(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            _assert_equal(one[key], other[key])
    elif is_dataclass(one):
        for field in fields(one):
            _assert_equal(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other


@pytest.mark.parametrize("ending", ["", ".npz", ".json"])
def test_saved_results_come_back_whole(ending: str, measured: Interference, tmp_path: Path) -> None:
    place = tmp_path / "interference" / f"epoch.10{ending}"
    measured.save(place)
    assert sorted(p.name for p in place.parent.iterdir()) == ["epoch.10.json", "epoch.10.npz"]
    _assert_equal(Interference.load(str(place)), measured)
    measured.save(place)  # again, over what is there


def test_names_that_look_like_the_format_s_own_come_back(tmp_path: Path) -> None:
    matrix = _symmetric([-0.5], 2)
    odd = {"$array": matrix, "$kind": matrix, "": matrix}
    result = _result(matrix, layers=odd, layer_null=odd)
    result.save(tmp_path / "x")
    _assert_equal(Interference.load(tmp_path / "x"), result)


def test_the_arrays_need_no_pickle(measured: Interference, tmp_path: Path) -> None:
    measured.save(tmp_path / "x")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert all(arrays[key].dtype.kind in "bfi" for key in arrays)
    assert json.loads((tmp_path / "x.json").read_text("utf-8"))["summary"] == measured.summary()


def test_to_dict_is_strict_json_with_everything(measured: Interference) -> None:
    read = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert read["conflict"][5] == [None] * 6
    np.testing.assert_allclose(np.array(read["excess"], float), measured.excess)
    assert read["mean_excess"] == measured.mean_excess
    assert {f.name for f in fields(Interference)} < set(read)
    assert np.array(read["gates"]["between_branches"]["cosine"]).shape == (6, 3, 3)


@pytest.mark.parametrize(
    "damage", ["missing", "text", "other json", "other format", "cut arrays", "no arrays"]
)
def test_damaged_files_are_refused(damage: str, measured: Interference, tmp_path: Path) -> None:
    measured.save(tmp_path / "x")
    npz, text = tmp_path / "x.npz", tmp_path / "x.json"
    if damage == "missing":
        text.unlink()
    elif damage == "no arrays":
        npz.unlink()
    elif damage == "cut arrays":
        npz.write_bytes(npz.read_bytes()[:100])
    else:
        content = {"text": "{", "other json": "[]", "other format": '{"format": "x"}'}[damage]
        text.write_text(content)
    with pytest.raises(InputError, match=r"path must hold .*; (save one there|measure again)"):
        Interference.load(tmp_path / "x")


def test_a_place_that_cannot_be_written_is_named_and_left_clean(
    measured: Interference, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write .*x.npz"):
        measured.save(tmp_path / "file" / "x")
    (tmp_path / "y.npz").mkdir()
    with pytest.raises(InputError, match="cannot write .*y.npz"):
        measured.save(tmp_path / "y")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "y.npz"]


def test_mean_and_population_deviation_leave_nan_rows_out() -> None:
    matrix = _symmetric([-0.5, 0.1, np.nan, 0.4, np.nan, np.nan], 4)
    matrix[3, 3] = np.nan
    result = _result(matrix, _symmetric([-0.2] * 6, 4))
    assert result.mean == pytest.approx(0)
    assert result.std == pytest.approx(np.std([-0.5, 0.1, 0.4]))
    assert result.mean_null == pytest.approx(-0.2)
    assert result.mean_excess == pytest.approx(0.2)


def test_without_any_pair_the_figures_are_nan_and_silent() -> None:
    result = _result(np.full((3, 3), np.nan))
    assert np.isnan([result.mean, result.std, result.mean_excess]).all()
    assert result.worst_pairs() == []
    assert "(cosine)" not in result.summary()
    assert "Most opposed" not in result.summary()


def test_worst_pairs_by_conflict_and_by_excess() -> None:
    result = _result(_symmetric([-0.5, 0.1, -0.2], 3), _symmetric([-0.6, 0.5, -0.1], 3))
    by_conflict = result.worst_pairs(by="conflict")
    assert [p[:2] for p in by_conflict] == [("a", "b"), ("b", "c"), ("a", "c")]
    assert [p[:2] for p in result.worst_pairs(2, by="excess")] == [("a", "c"), ("b", "c")]
    assert result.worst_pairs() == result.worst_pairs(by="excess"), "without intervals nothing is surer"
    first, second, conflict, null, excess = by_conflict[0]
    assert (first, second, conflict, null) == ("a", "b", -0.5, -0.6)
    assert excess == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "message"), [({"n": 0}, "n must be at least 1"), ({"by": "exces"}, "'excess'")]
)
def test_bad_ranking(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _result(np.eye(2)).worst_pairs(**options)


def test_summary_never_gives_a_cosine_without_null_and_excess() -> None:
    result = _result(_symmetric([-0.5, 0.1, -0.2], 3), _symmetric([-0.6, 0.5, -0.1], 3))
    lines = result.summary().splitlines()
    assert (
        lines[0]
        == "Mean gradients of 3 classes compared over 60 examples (10 to 30 a class), parameters 'all'."
    )
    assert "-0.200" in lines[1]
    assert "null" not in lines[0]
    assert "-0.067" in lines[1]  # mean null
    assert "-0.133" in lines[1]  # mean excess
    assert lines[2].startswith(
        "Most opposed beyond that null: a and c +0.10 (null +0.50, excess -0.40); b and c"
    )
    assert "no interval" in lines[3]
    assert "never evidence by itself" in lines[4]
    assert {"conflict", "null", "excess"} <= set(repr(result).replace(",", "").split())


def test_summary_lists_no_pair_whose_excess_is_not_below_0() -> None:
    mixed = _result(_symmetric([0.02, -0.3, 0.4], 3), _symmetric([-0.01, -0.1, 0.4], 3)).summary()
    assert "Most opposed beyond that null: a and c -0.30 (null -0.10, excess -0.20).\n" in mixed
    none = _result(_symmetric([0.02, 0.3, 0.4], 3), _symmetric([-0.01, -0.1, 0.4], 3)).summary()
    assert "Most opposed" not in none
    assert "No pair opposes beyond that null: the smallest excess is +0.00." in none


def test_summary_tells_opposing_agreeing_undecided_and_too_noisy_pairs_apart() -> None:
    conflict = _symmetric([-0.8, 0.8, 0.0, 0.1, 0.0, 0.0], 4)
    ends = np.stack([conflict - 0.1, conflict + 0.1])
    ends[:, 3] = ends[:, :, 3] = np.nan
    noisy = np.where(np.isnan(ends[0]), np.nan, conflict)
    null = np.zeros((4, 4))
    result = _result(conflict, null, disattenuated=noisy, interval=ends, reliability=np.ones(4))
    words = result.summary()
    # a-b lies below 0, a-c above it, b-c holds it, and the three pairs with d have no interval
    assert (
        "Of 6 pairs, 1 oppose beyond null and noise (90 % intervals, so about 0 would by chance), 1 agree "
        "beyond them, 1 lie within them, and 3 are too noisy to say."
    ) in words
    assert "Too noisy to compare, for want of examples: d." in words


def _with_ends(
    excess: list[float], half: list[float], size: int, counts: list[int] | None = None
) -> Interference:
    """Noise-free excesses with intervals of the given half widths, 0.05 of which the null takes up."""
    centre, width = _symmetric(excess, size), _symmetric(half, size) - 0.05
    ends = np.stack([centre - width, centre + width])
    return _result(
        centre,
        np.zeros((size, size)),
        disattenuated=centre,
        interval=ends,
        reliability=np.ones(size),
        counts=np.full(size, 800) if counts is None else np.array(counts),
    )


def test_pairs_come_in_the_order_of_how_surely_they_oppose() -> None:
    # a-b is the lowest and may be nothing, a-c and b-c lie below 0, the pairs with d agree
    result = _with_ends([-0.9, -0.3, 0.5, -0.5, 0.6, 0.7], [1.0, 0.1, 0.1, 0.4, 0.1, 0.1], 4)
    assert [p[:2] for p in result.worst_pairs(4)] == [("a", "c"), ("b", "c"), ("a", "b"), ("a", "d")]
    assert result.worst_pairs(1, by="excess")[0][:2] == ("a", "b")
    words = result.summary()
    assert (
        "Opposed beyond null and noise, surest first: a and c -0.30 (null +0.00, excess -0.30, without noise "
        "-0.40 to -0.20); b and c -0.50 (null +0.00, excess -0.50, without noise -0.90 to -0.10)."
    ) in words
    assert "a and b" not in words


def test_pairs_without_an_interval_come_last_by_their_excess() -> None:
    result = _with_ends([-0.9, -0.3, -0.95], [np.nan, 0.4, np.nan], 3)
    assert [p[:2] for p in result.worst_pairs()] == [("a", "c"), ("b", "c"), ("a", "b")]


def test_where_no_pair_is_beyond_noise_the_summary_says_so() -> None:
    words = _with_ends([-0.9, -0.3, 0.1], [1.0, 0.4, 0.3], 3).summary()
    assert "No pair opposes beyond null and noise; nearest to it: a and b -0.90 (null +0.00, " in words
    assert "Opposed beyond" not in words
    assert "Corrected for the number of pairs (Holm, p below 0.05), 0 of 3 oppose." in words
    blind = _with_ends([-0.9] * 3, [np.nan] * 3, 3).summary()
    assert "No pair is measured surely enough to say whether it opposes beyond the null." in blind


def test_pairs_that_no_correction_leaves_are_not_called_opposed() -> None:
    words = _with_ends([-0.3, 0.0, 0.0], [0.28, 0.3, 0.3], 3).summary()
    assert "Below the null with their 90 % interval, but none once corrected for the number of pairs" in words
    assert "corrected for the number of pairs, surest first: a and b -0.30" in words
    assert "Opposed beyond" not in words
    assert "Of 3 pairs, 1 oppose beyond null and noise (90 % intervals" in words
    assert "0 of 3 oppose" in words


COUNTS = [800, 700, 90, 80, 20, 10]


@pytest.mark.parametrize("planted", [(), ((0, 5),), ((0, 5), (1, 4)), ((0, 1), (4, 5)), ((2, 3),)])
@pytest.mark.parametrize("half", [0.2, 0.5])
def test_the_summary_counts_the_pairs_that_advice_counts(
    planted: tuple[tuple[int, int], ...], half: float
) -> None:
    matrix = np.zeros((6, 6))
    for i, j in planted:
        matrix[i, j] = -0.6
    upper = matrix[np.triu_indices(6, 1)].tolist()
    result = _with_ends(upper, [half] * 15, 6, COUNTS)
    found = conflict(result, COUNTS)
    assert found is not None
    beyond, known = int(found.evidence["pairs_beyond"]), int(found.evidence["pairs"])
    assert known == 4
    assert (
        f"of the 4 that join a rare with a frequent class, corrected for these alone, {beyond}, and on"
        in (result.summary())
    )
    claims = "conflict" in {one.kind for one in advise(result)}
    assert claims == (beyond > 0)
    assert claims == (half == 0.2 and any(i < 2 and j > 3 for i, j in planted))


def test_correction_for_the_number_of_pairs_is_that_of_the_evaluation() -> None:
    random = np.random.default_rng(0)
    low = random.normal(-0.3, 0.2, 40)
    high = low + random.uniform(0.1, 0.6, 40)
    folds = random.integers(2, 9, 40)
    low[7] = high[7] = np.nan
    alone = [opposed_p(low[k : k + 1], high[k : k + 1], folds[k : k + 1])[0] for k in range(40)]
    wanted = holm([None if np.isnan(p) else float(p) for p in alone])
    found = opposed_p(low, high, folds)
    assert found == pytest.approx([np.nan if p is None else p for p in wanted], nan_ok=True)
    t = stats.t.ppf(0.95, folds[0] - 1) * (low[0] + high[0]) / (high[0] - low[0])
    assert alone[0] == pytest.approx(min(1, 2 * stats.t.cdf(t, folds[0] - 1)))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_rare_and_frequent_are_the_thirds_of_the_evaluation(counts: list[int]) -> None:
    groups, found = thirds(counts), rare_and_frequent(counts)
    ends = groups.get("tail", ()), groups.get("head", ())
    apart = all(ends) and max(counts[k] for k in ends[0]) < min(counts[k] for k in ends[1])
    assert found == ((list(ends[0]), list(ends[1])) if apart else None)


def test_summary_says_that_the_plain_step_carries_no_interval() -> None:
    parts = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 0.0], [-0.6, 0.0, 0.8]])
    matrix = _symmetric([-0.2] * 3, 3)
    hurt = _result(matrix, contributions=parts, counts=np.array([30, 20, 10])).summary()
    assert (
        "push back (estimated, without interval): 0.75 times as hard as c pulls for itself, mostly a." in hurt
    )
    parts[2, 0] = 0
    spared = _result(matrix, contributions=parts, counts=np.array([30, 20, 10])).summary()
    assert "(c), none loses half of its own descent to the others (estimated, without interval)." in spared


@pytest.mark.parametrize(
    ("alignment", "predicted", "expected"),
    [
        ([-0.1, 0.2, -0.3], [0.1, -0.2, 0.0], "climbs a, c (alignment below 0); the measured change"),
        ([0.1, 0.2, np.nan], [0.1, -0.2, np.nan], "climbs no class; the measured change"),
        ([0.1, 0.2, np.nan], [0.0, 0.0, np.nan], "The update 'Adam step' climbs no class."),
    ],
)
def test_summary_says_what_the_update_climbs(
    alignment: list[float], predicted: list[float], expected: str
) -> None:
    measured = np.array([0.08, -0.22, 0.5])
    effect = Effect("Adam step", np.array(alignment), np.array(predicted), measured, None)
    words = _result(_symmetric([-0.2] * 3, 3), effect=effect).summary()
    assert expected in words
    assert ("of loss is 0.80 to 1.10 times the predicted one." in words) is any(predicted[:2])


def test_summary_cuts_long_names_and_names_what_was_not_measurable(measured: Interference) -> None:
    assert (
        measured.summary().splitlines()[5]
        == "Not measurable, for want of examples or of any gradient: plain."
    )
    assert max(map(len, measured.summary().splitlines())) < 400


def test_rare_to_frequent_compares_the_ends_of_the_counts(perceptron: nn.Module) -> None:
    assert _result(np.eye(3)).rare_to_frequent() == {"fc": 3.0}
    unseen = _result(
        np.eye(3), counts=np.array([20, 10, 0]), layer_norms={"fc": np.array([2.0, 1.0, np.nan])}
    )
    assert unseen.rare_to_frequent() == {"fc": 0.5}
    assert np.isnan(_result(np.eye(2), layer_norms={"fc": np.zeros(2)}).rare_to_frequent()["fc"])


def test_layer_excess(measured: Interference) -> None:
    for name, excess in measured.layer_excess.items():
        np.testing.assert_array_equal(excess, measured.layers[name] - measured.layer_null[name])
