import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.power import TTestPower

from tailgrad.checks import InputError
from tailgrad.evaluate import critical_difference, crossed_bootstrap, paired_difference
from tailgrad.recipes import Config, compare, table
from tailgrad.recipes.compare import _has_single_runs
from tailgrad.recipes.compose import merge
from tailgrad.recipes.conclude import conclude
from tailgrad.recipes.crossed import with_crossed
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.report import write_report

LOW, HIGH = [0.50, 0.53, 0.52, 0.51], [0.52, 0.56, 0.52, 0.55]


def result(value: float, seed: int = 0, split: int = 0) -> dict[str, Any]:
    figures = {name: {"value": value} for name in ("macro_f1", "balanced_accuracy", "accuracy")}
    test = {**figures, "classes": [{"f1": {"value": value}, "support": 3}], "images": 30}
    run = {"test": test, "train_images": 70, "tuned": {"macro_f1": value}}
    return run | {"seed": seed, "split_seed": split}


def by_seed(values: list[float]) -> list[dict[str, Any]]:
    return [result(value, seed) for seed, value in enumerate(values)]


def headline(found: dict[str, Any], key: str = "paired") -> dict[str, Any]:
    return next(row for row in found[key] if row["metric"] == "macro_f1")


def test_what_could_be_seen_agrees_with_statsmodels() -> None:
    row = headline(conclude({"a": by_seed(LOW), "b": by_seed(HIGH)}, own_test=True))
    found, power = np.subtract(HIGH, LOW), TTestPower()
    spread = found.std(ddof=1)
    wanted = power.solve_power(nobs=4, alpha=0.05, power=0.8) * spread
    assert row["detectable"] == pytest.approx(wanted, rel=1e-4)
    pairs = power.solve_power(effect_size=found.mean() / spread, alpha=0.05, power=0.8)
    assert row["pairs_needed"] == int(np.ceil(pairs))
    assert row["improvement"]["value"] == pytest.approx(3.5 / 4)


def test_several_methods_and_overlapping_splits_ask_for_more() -> None:
    two = {"a": by_seed(LOW), "b": by_seed(HIGH)}
    crowd = {**two, "c": by_seed([0.51, 0.50, 0.55, 0.52])}
    own, overlapping, three = (
        headline(conclude(results, own_test=shared))["detectable"]
        for results, shared in ((two, True), (two, False), (crowd, True))
    )
    assert own < three  # at the level of the first of two tests
    assert overlapping / own == pytest.approx(((1 / 4 + 30 / 70) * 4) ** 0.5)


def test_the_sentence_ends_with_what_could_be_seen() -> None:
    found = conclude({"a": by_seed(LOW), "b": by_seed(HIGH)}, own_test=True)
    points = f"{100 * headline(found)['detectable']:.1f}"
    assert found["conclusion"].endswith(f" With 4 seeds nothing under {points} points can be seen reliably.")
    wild = conclude({"a": by_seed([0.1, 0.9]), "b": by_seed([0.8, 0.2])}, own_test=True)
    assert wild["conclusion"].endswith(" With 2 seeds no difference can be seen reliably.")
    crowd = {"a": by_seed(LOW), "b": by_seed(HIGH), "c": by_seed([0.7, 0.1, 0.6, 0.2])}
    assert " to " in conclude(crowd, own_test=True)["conclusion"].split("nothing under ")[1]


def test_what_is_lower_is_not_lower_by_less_than_nothing() -> None:
    low, high = by_seed([0.50, 0.51, 0.52, 0.51]), by_seed([0.60, 0.61, 0.62, 0.605])
    up, down = (
        conclude({"a": first, "b": second}, own_test=True)["conclusion"].split(". ")[0]
        for first, second in ((low, high), (high, low))
    )
    assert up == "Over 4 seeds, b has a higher macro-F1 than a by +0.099 [+0.095, +0.103]"
    assert down == "Over 4 seeds, b has a lower macro-F1 than a (-0.099 [-0.103, -0.095])"


def test_a_difference_without_spread_counts_as_a_test_that_found_nothing() -> None:
    """One and the same gain with every seed has no p value; the other methods are no fewer for it."""
    even = [value + 0.25 for value in LOW]
    assert len({b - a for a, b in zip(LOW, even, strict=True)}) == 1, "else there is a spread"
    found = conclude({"a": by_seed(LOW), "even": by_seed(even), "b": by_seed(HIGH)}, own_test=True)
    rows = {row["method"]: row for row in found["paired"] if row["metric"] == "macro_f1"}
    assert (rows["even"]["p"], rows["even"]["p_holm"]) == (None, None)
    assert rows["b"]["p_holm"] == pytest.approx(2 * rows["b"]["p"])


def test_where_nothing_varies_nothing_is_said_to_be_seen() -> None:
    found = conclude({"a": by_seed(LOW), "b": by_seed(LOW)}, own_test=True)
    row = headline(found)
    assert (row["detectable"], row["pairs_needed"], row["improvement"]["value"]) == (None, None, 0.5)
    assert "reliably" not in found["conclusion"]


def crossed_runs(values: np.ndarray) -> list[dict[str, Any]]:
    """Runs of [splits, seeds] figures, split by split."""
    return [
        result(float(value), seed, split)
        for split, row in enumerate(values)
        for seed, value in enumerate(row)
    ]


def test_several_seeds_of_several_splits_count_as_splits() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0.5, 0.02, (2, 4, 3))
    found = conclude({"a": crossed_runs(a), "b": crossed_runs(b)}, own_test=False)
    row = headline(found)
    wanted = paired_difference(b.mean(1), a.mean(1), test_train_ratio=30 / 70, unit="split")
    assert found["unit"] == "split"
    assert (row["n"], row["low"], row["high"], row["p"]) == pytest.approx(
        (4, wanted.low, wanted.high, wanted.p)
    )
    assert row["how"] == "Student t 95% over 4 splits, Nadeau-Bengio"
    assert headline(found, "rows")["per_seed"] == pytest.approx(a.mean(1).tolist())
    assert found["conclusion"].startswith("Over 4 splits of 3 seeds, ")


def test_the_order_of_the_runs_does_not_change_the_splits() -> None:
    a, b = np.random.default_rng(1).normal(0.5, 0.02, (2, 3, 2))
    order = np.random.default_rng(2).permutation(6)
    runs = {"a": crossed_runs(a), "b": crossed_runs(b)}
    moved = {name: [found[i] for i in order] for name, found in runs.items()}
    first, second = (headline(conclude(results, own_test=False)) for results in (runs, moved))
    assert first["p"] == pytest.approx(second["p"])


@pytest.mark.parametrize("splits", [[0, 0, 0], [0, 1, 2]])
def test_one_split_or_one_seed_each_counts_by_seed(splits: list[int]) -> None:
    runs = [result(0.5 + i / 50, i, split) for i, split in enumerate(splits)]
    found = conclude({"a": runs, "b": runs}, own_test=True)
    assert (found["unit"], headline(found)["n"]) == ("seed", 3)


def test_one_seed_of_several_splits_counts_as_splits() -> None:
    a, b = ([result(v, 0, split) for split, v in enumerate(values)] for values in (LOW, HIGH))
    found = conclude({"a": a, "b": b}, own_test=False)
    row = headline(found)
    assert (found["unit"], row["n"]) == ("split", 4)
    assert row["how"] == "Student t 95% over 4 splits, Nadeau-Bengio"
    assert found["conclusion"].startswith("Over 4 splits, ")
    assert "seed" not in found["conclusion"]
    # The figures are those of as many pairs, whatever they are called.
    seeds = headline(conclude({"a": by_seed(LOW), "b": by_seed(HIGH)}, own_test=False))
    assert {key: value for key, value in row.items() if key != "how"} == {
        key: value for key, value in seeds.items() if key != "how"
    }


@pytest.mark.parametrize(
    ("split", "own_test", "words"),
    [
        (lambda _: 3, False, "4 seeds of one split"),  # all that varied is training
        (lambda _: 0, True, "4 seeds"),
        (lambda seed: seed, False, "4 seeds"),
    ],
)
def test_seeds_of_one_drawn_split_are_told_as_such(split: Any, own_test: bool, words: str) -> None:
    runs = {
        name: [result(v, s, split(s)) | {"own_test": own_test} for s, v in enumerate(values)]
        for name, values in {"a": LOW, "b": HIGH}.items()
    }
    said = conclude(runs, own_test=True)["conclusion"]
    assert said.startswith(f"Over {words}, whether b differs")
    assert f". With {words} nothing under " in said


def test_methods_that_ran_other_seeds_are_not_compared() -> None:
    with pytest.raises(InputError, match="methods must have run the same seeds and splits"):
        conclude({"a": by_seed(LOW), "b": by_seed(HIGH)[::-1]}, own_test=True)


def test_ranks_from_three_methods_and_six_pairs() -> None:
    random = np.random.default_rng(3)
    values = {name: random.normal(0.5, 0.02, 6).tolist() for name in "abc"}
    runs = {name: by_seed(found) for name, found in values.items()}
    ranks = conclude(runs, own_test=False)["ranks"]
    assert ranks.pop("independent") is False
    assert ranks == critical_difference(values).to_dict()
    assert "ranks" not in conclude({name: found[:5] for name, found in runs.items()}, own_test=True)
    assert "ranks" not in conclude({name: runs[name] for name in "ab"}, own_test=True)


def write_predictions(folder: Path, names: list[str], target: np.ndarray, given: np.ndarray) -> RunFolder:
    """A run folder with predictions in an order of its own, validation images among them."""
    folder.mkdir(parents=True)
    order = np.random.default_rng(len(folder.name)).permutation(len(names))
    rows = {
        "part": ["val", *["test"] * len(names)],
        "name": ["v", *(names[i] for i in order)],
        "target": np.append(0, target[order]),
        "predicted": np.append(0, given[order]),
    }
    pq.write_table(pa.table(rows), folder / "predictions.parquet")
    (folder / "result.json").write_text(json.dumps({"classes": {"names": ["x", "y", "z"]}}))
    return RunFolder(folder)


@pytest.fixture
def stored(tmp_path: Path) -> Any:
    """Predictions of two methods over ten seeds, and the folders they are stored in."""
    random = np.random.default_rng(0)
    target, names = random.integers(0, 3, 50), [f"image{i}" for i in range(50)]
    wrong = random.integers(0, 3, (2, 10, 50))
    given = np.where(random.random((2, 10, 50)) < np.array([0.5, 0.8])[:, None, None], target, wrong)
    folders = {
        name: [
            write_predictions(tmp_path / f"{name}{'_' * s}", names, target, given[k, s]) for s in range(10)
        ]
        for k, name in enumerate("ab")
    }
    return target, given, folders


def test_ten_seeds_on_one_test_set_carry_the_crossed_interval(stored: Any) -> None:
    target, given, folders = stored
    rows = [{"method": "b", "against": "a", "metric": m} for m in ("macro_f1", "accuracy", "worst_f1")]
    macro, accuracy, worst = with_crossed(rows, folders)
    scores = {"macro_f1": lambda p: f1_score(target, p, average="macro"), "accuracy": None}
    scores["accuracy"] = lambda p: accuracy_score(target, p)
    for row in (macro, accuracy):
        mean_a, mean_b = (np.mean([scores[row["metric"]](run) for run in method]) for method in given)
        assert row["crossed"]["value"] == pytest.approx(mean_b - mean_a)
        assert row["crossed"]["low"] > 0
    order = np.argsort([f"image{i}" for i in range(50)])
    wanted = crossed_bootstrap(given[1][:, order], given[0][:, order], target[order], num_classes=3)
    assert macro["crossed"] == wanted.to_dict()
    assert "crossed" not in worst


def test_nine_seeds_carry_none_and_other_images_are_refused(stored: Any, tmp_path: Path) -> None:
    target, given, folders = stored
    rows = [{"method": "b", "against": "a", "metric": "macro_f1"}]
    assert with_crossed(rows, {name: found[:9] for name, found in folders.items()}) == rows
    names = [f"other{i}" for i in range(50)]
    folders["b"][3] = write_predictions(tmp_path / "other", names, target, given[1][3])
    with pytest.raises(InputError, match="tested on the same images, got others in .*other"):
        with_crossed(rows, folders)


@pytest.mark.slow
def test_a_study_over_splits_and_seeds(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    tiny = merge(fast, {"model": {"name": "resnet32"}, "data": {"size": 16}, "train": {"epochs": 1}})
    study = compare(
        photos,
        ["ce", "focal"],
        seeds=2,
        split_seeds=2,
        regime="quick",
        overrides=tiny,
        out=tmp_path / "s",
    )
    assert study.comparison["unit"] == "split"
    assert headline(study.comparison)["n"] == 2
    assert "2 splits of 2 seeds" in study.report.read_text(encoding="utf-8")
    assert table(study.folder, "csv").splitlines()[1].split(",")[:2] == ["ce", "2"]


def test_a_comparison_from_before_these_figures_is_still_read(study_before: Path) -> None:
    assert "method" in table(study_before, "md")
    write_report(study_before)
    assert "can see in" not in (study_before / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def study_before(photos: Path, fast: dict[str, Any], tmp_path: Path) -> Path:
    tiny = merge(fast, {"model": {"name": "resnet32"}, "data": {"size": 16}, "train": {"epochs": 1}})
    study = compare(photos, ["ce", "focal"], seeds=1, regime="quick", overrides=tiny, out=tmp_path / "old")
    path = study.folder / "comparison.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("unit")
    for row in content["paired"]:
        for key in ("detectable", "pairs_needed", "improvement"):
            row.pop(key)
    path.write_text(json.dumps(content), encoding="utf-8")
    return study.folder


@pytest.mark.slow
def test_ten_seeds_on_a_test_set_of_its_own(tmp_path: Path, fast: dict[str, Any]) -> None:
    quick = {**fast, "train": {**fast["train"], "epochs": 1, "batch_size": 64}}
    study = compare("digits-lt", ["ce", "focal"], seeds=10, overrides=quick, out=tmp_path / "s")
    row = headline(study.comparison)
    assert row["crossed"]["value"] == pytest.approx(row["mean"])
    assert row["crossed"]["low"] < row["mean"] < row["crossed"]["high"]
    assert "images crossed with seeds" in study.report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("pairs", "single"),
    [
        ([(s, None) for s in range(3)], True),
        ([(s, 0) for s in range(3)], True),
        ([(0, split) for split in range(3)], True),
        ([(s, split) for split in range(2) for s in range(2)], False),
    ],
)
def test_only_single_runs_are_crossed_with_images(pairs: list[tuple[int, int | None]], single: bool) -> None:
    """Whatever a pair is called: over means of several seeds the bootstrap has no runs to draw."""
    plans = [
        Config(source="x", method=method, seed=seed, split_seed=split)
        for seed, split in pairs
        for method in ("a", "b")
    ]
    assert _has_single_runs(plans) is single
