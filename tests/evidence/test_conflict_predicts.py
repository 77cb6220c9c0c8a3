"""C1 on runs that were written by hand: conflict that does predict, and conflict that does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.evidence import Lab, reproduce
from tailgrad.evidence.analyses.conflict_predicts import agreement, analyse
from tailgrad.files import write_json
from tailgrad.interference import Interference

K, METHODS, SEEDS = 4, ("a", "b", "c", "d"), 6
COUNTS = (80, 40, 20, 10)
"""The tail is the last class alone."""
Floats = NDArray[np.float64]


def measurement(excess: float, layers: dict[str, float]) -> Interference:
    """The last class's mean excess over the others is as given, in the whole and in each layer."""

    def matrix(value: float) -> Floats:
        found = np.eye(K)
        found[-1, :-1] = found[:-1, -1] = value
        return found

    null = np.zeros((K, K))
    return Interference(
        class_names=tuple("wxyz"),
        counts=np.array(COUNTS),
        primary="backbone",
        conflict=matrix(excess),
        null=null,
        norms=np.ones(K),
        loss=np.ones(K),
        groups={"backbone": matrix(excess)},
        group_null={"backbone": null},
        layers={name: matrix(value) for name, value in layers.items()},
        layer_null=dict.fromkeys(layers, null),
        layer_norms={name: np.ones(K) for name in layers},
    )


def write_runs(
    folder: Path, excess: Floats, f1: Floats, layer: Floats | None = None, *, redrawn: bool = False
) -> Lab:
    """Runs of a group: excess and F1 of the tail class [S, M]."""
    for s in range(len(excess)):
        for m, method in enumerate(METHODS[: excess.shape[1]]):
            run = folder / "group" / "runs" / f"{method}.seed{s}"
            rows = [
                {"support": 9, "f1": {"value": v}, "recall": {"value": v}} for v in (0.9, 0.8, 0.7, f1[s, m])
            ]
            result: dict[str, Any] = {"method": method, "seed": s, "split_seed": 0, "status": "finished"}
            result |= {"classes": {"names": list("wxyz"), "counts": COUNTS}, "train_images": 150}
            result |= {"test": {"classes": rows, "images": 36}, "own_test": False}
            result |= {"split_seed": s} if redrawn else {}
            write_json(run / "result.json", result)
            own = {"conv": float((excess if layer is None else layer)[s, m]), f"only.{method}": 0.1}
            measurement(float(excess[s, m]), own).save(run / "interference" / "heldout")
    return Lab(folder / "lab", {}, {"group": folder / "group"})


def drawn(seed: int) -> tuple[Floats, Floats]:
    x, y = np.random.default_rng(seed).uniform(0.1, 0.6, size=(2, SEEDS, len(METHODS)))
    return x, y


def test_conflict_that_predicts_is_found(tmp_path: Path) -> None:
    x, noise = drawn(0)
    y = x + 0.1 * noise
    figures = analyse(write_runs(tmp_path, x, y)).figures
    within_seed = figures["heldout.f1.within_seed"]
    one_by_one = [float(stats.spearmanr(a, b).statistic) for a, b in zip(x, y, strict=True)]
    assert within_seed.values == pytest.approx(one_by_one)
    assert within_seed.mean.low is not None
    assert within_seed.mean.low > 0
    expected = np.mean([stats.spearmanr(x[:, m], y[:, m]).statistic for m in range(len(METHODS))])
    assert figures["heldout.f1.within_method"].mean.value == pytest.approx(float(expected))
    pooled = stats.spearmanr(x.ravel(), y.ravel()).statistic
    assert figures["heldout.recall.pooled"].mean.value == pytest.approx(float(pooled))


def test_methods_that_differ_in_both_predict_nothing_within_a_method(tmp_path: Path) -> None:
    """High pooled correlation, driven by the methods' means alone."""
    x, y = drawn(1)
    level = 0.1 * np.arange(len(METHODS))
    figures = analyse(write_runs(tmp_path, 0.1 * x + level, 0.1 * y + level)).figures
    assert figures["heldout.f1.pooled"].mean.value > 0.8
    within = figures["heldout.f1.within_method"].mean
    assert within.low is not None
    assert within.high is not None
    assert within.low < 0 < within.high


def test_layers_are_those_that_all_methods_have_each_with_its_own_figure(tmp_path: Path) -> None:
    x, y = drawn(2)
    tables = analyse(write_runs(tmp_path, x, y, layer=y)).tables
    rows = next(table for table in tables if table.title.startswith("By layer")).rows
    assert [row[:3] for row in rows] == [("heldout", "conv", "1.00")]
    assert float(rows[0][3]) < 0.01


def test_only_seeds_that_all_methods_have_count(tmp_path: Path) -> None:
    x, y = drawn(3)
    lab = write_runs(tmp_path, x, y)
    (tmp_path / "group" / "runs" / "b.seed4" / "result.json").unlink()
    found = analyse(lab)
    assert len(found.figures["heldout.f1.within_seed"].values) == SEEDS - 1
    assert list(found.seeds) == [0, 1, 2, 3, 5]


def test_redrawn_splits_widen_every_interval(tmp_path: Path) -> None:
    x, noise = drawn(7)
    both = [
        analyse(write_runs(tmp_path / str(redrawn), x, x + noise, redrawn=redrawn)).figures
        for redrawn in (False, True)
    ]
    for name in ("within_seed", "within_method", "pooled"):
        one, several = (figures[f"heldout.f1.{name}"] for figures in both)
        assert (one.extra_variance, several.extra_variance) == (0.0, pytest.approx(36 / 150))
        assert one.mean.value == pytest.approx(several.mean.value)
        assert one.mean.low is not None
        assert several.mean.low is not None
        assert several.mean.low < one.mean.low
        assert (several.p(0) or 0) > (one.p(0) or 0)


def test_the_runs_behind_it_are_shown(tmp_path: Path) -> None:
    x, y = drawn(4)
    rows = analyse(write_runs(tmp_path, x, y)).tables[-1].rows
    assert len(rows) == SEEDS * len(METHODS)
    assert rows[1] == ("b", "0", "0", f"{y[0, 1]:.3f}", f"{y[0, 1]:.3f}", f"{x[0, 1]:.3f}")


def test_where_nothing_varies_nothing_can_be_told(tmp_path: Path) -> None:
    x, y = drawn(5)
    found = analyse(write_runs(tmp_path, x, np.zeros_like(y))).figures["heldout.f1.within_seed"]
    assert (found.mean.value, found.mean.low, found.p(0)) == (0.0, None, None)


def test_rows_leave_unknown_pairs_out() -> None:
    matrix = np.full((3, 3), np.nan)
    matrix[0, 1] = 0.4
    assert agreement(matrix)[0] == 0.4
    assert np.isnan(agreement(matrix)[1:]).all()


def test_runs_without_measurements_or_partners_are_refused(tmp_path: Path) -> None:
    x, y = drawn(6)
    lab = write_runs(tmp_path, x[:, :1], y[:, :1])
    with pytest.raises(InputError, match="two methods with seeds in common, got a"):
        analyse(lab)
    lab = write_runs(tmp_path, x, y)
    for path in (tmp_path / "group").rglob("heldout.json"):
        path.unlink()
    with pytest.raises(InputError, match=r"interference\.enabled=true"):
        analyse(lab)


@pytest.mark.slow
def test_the_study_runs_at_its_smallest_and_on_another_s_runs(tmp_path: Path) -> None:
    first = reproduce("conflict-predicts", size="smoke", out=tmp_path / "own")
    assert len(first.verdicts) == 4
    given = reproduce(
        "conflict-predicts", str(tmp_path / "own" / "main"), size="given", out=tmp_path / "given"
    )
    assert given.content["figures"] == first.content["figures"]
