"""Runs on tables: networks and trees in one study, rows made by SMOTE, prediction, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data.generated_rows import open_generated_rows
from tailgrad.data.table import read_table
from tailgrad.interference import Interference
from tailgrad.models import create_model
from tailgrad.recipes import RunFolder, Study, compare, compose, diagnose, predict, train
from tailgrad.recipes.chosen_methods import choose
from tailgrad.recipes.configure import configure
from tailgrad.recipes.every_method import Sieve
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.resample_rows import as_matrix, as_rows, resampled
from tailgrad.recipes.restore import restore
from tailgrad.recipes.row_parts import conflicting
from tailgrad.recipes.row_speed import settle_rows
from tailgrad.recipes.talk import Talk
from tailgrad.types import TableInputs

TINY: dict[str, Any] = {
    "data": {"target": "sick", "drop": ["patient"]},
    "model": {"options": {"hidden": [8]}},
    "train": {"epochs": 1, "threads": 1},
    "interference": {"max_per_class": 8, "folds": 2},
}
METHODS = ("ce", "smote", "hist_gradient_boosting", "self_paced_ensemble")


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rows, 24 of them sick, with missing values of both kinds, an identifier and a constant column."""
    random, n = np.random.default_rng(0), 120
    sick = np.arange(n) % 5 == 0
    dose = [
        None if i % 9 == 0 else round(float(v), 2) for i, v in enumerate(random.normal(2, 1, n) + 2 * sick)
    ]
    town = [None if i % 17 == 0 else str(word) for i, word in enumerate(random.choice(["n", "s", "e"], n))]
    columns = {
        "patient": [f"p{i:03d}" for i in range(n)],
        "age": (random.normal(50, 10, n) + 8 * sick).round(1),
        "dose": dose,
        "town": town,
        "site": ["x"] * n,
        "sick": np.where(sick, "yes", "no").tolist(),
    }
    path = tmp_path_factory.mktemp("data") / "patients.csv"
    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def study(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("studies") / "one"
    return compare(patients, METHODS, seeds=1, overrides=TINY, out=folder, console=None)


@pytest.fixture
def runs(study: Study) -> dict[str, RunFolder]:
    folders = [RunFolder(path) for path in (study.folder / "runs").iterdir()]
    return {folder.config().method: folder for folder in folders}


def rows_of(folder: RunFolder, part: str = "test") -> list[dict[str, Any]]:
    stored = pq.read_table(folder.path / "predictions.parquet").to_pylist()
    return [row for row in stored if row["part"] == part]


def test_networks_and_trees_share_split_and_encoding(runs: dict[str, RunFolder]) -> None:
    assert set(runs) == set(METHODS)
    for name in ("split.json", "encoding.json"):
        assert len({(folder.path / name).read_bytes() for folder in runs.values()}) == 1
    for folder in runs.values():
        result, stored = folder.result(), rows_of(folder)
        logits = np.array([row["logits"] for row in stored])
        right = np.mean(logits.argmax(1) == [row["target"] for row in stored])
        assert (result["data"], result["test"]["images"], result["train_images"]) == (
            runs["ce"].result()["data"],
            24,
            78,
        )
        assert result["test"]["accuracy"]["value"] == pytest.approx(right)
        assert result["status"] == "finished"
    assert not (runs["hist_gradient_boosting"].path / "checkpoint").exists()
    of_trees = np.array([row["logits"] for row in rows_of(runs["hist_gradient_boosting"])])
    np.testing.assert_allclose(np.exp(of_trees).sum(1), 1, rtol=1e-5)  # logarithms of shares


def test_every_method_s_correction_of_the_prior_is_in_its_ledger(runs: dict[str, RunFolder]) -> None:
    priors = {name: folder.result()["prior"]["prior"] for name, folder in runs.items()}
    counts = np.array(runs["ce"].result()["classes"]["counts"])
    for name in ("ce", "hist_gradient_boosting"):
        np.testing.assert_allclose(priors[name], counts / counts.sum())
    for name in ("smote", "self_paced_ensemble"):
        np.testing.assert_allclose(priors[name], [0.5, 0.5])


def test_interference_of_a_table_is_measured_in_its_run_and_again(runs: dict[str, RunFolder]) -> None:
    stored = Interference.load(runs["ce"].path / "interference" / "heldout")
    again = diagnose(str(runs["ce"].path))
    assert stored.conflict.shape == (2, 2)
    np.testing.assert_allclose(again.conflict, stored.conflict, atol=1e-6)
    assert not (runs["hist_gradient_boosting"].path / "interference").exists()


def test_predict_gives_what_the_run_said_of_its_test_rows(
    runs: dict[str, RunFolder], patients: Path, tmp_path: Path
) -> None:
    table = read_table(patients)
    for name in ("ce", "self_paced_ensemble"):
        stored = rows_of(runs[name])
        places = [int(row["name"].removeprefix("row ")) for row in stored]
        pq.write_table(table.take(places), tmp_path / "new.parquet")
        found = predict(runs[name].path, [tmp_path / "new.parquet"])
        expected = torch.softmax(torch.tensor([row["logits"] for row in stored]).double(), 1)
        np.testing.assert_allclose([one.probabilities for one in found], expected, atol=1e-5)
        assert [one.label for one in found] == [["no", "yes"][row["target"]] for row in stored]
        assert found[3].file == f"{tmp_path / 'new.parquet'}#3"


def test_what_was_made_up_is_said(runs: dict[str, RunFolder], tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "new.csv").write_text("age,dose,town,more\n50,,mars,1\n,2.0,n,2\n")

    class Listener:
        is_terminal = False

        def print(self, text: object, **_: Any) -> None:
            lines.append(str(text))

    found = predict(runs["ce"].path, [tmp_path / "new.csv"], console=Listener())  # type: ignore[arg-type]
    assert len(found) == 2
    assert predict(runs["ce"].path, [tmp_path / "new.csv"] * 2) == found * 2
    told = "\n".join(lines)
    for words in ("'town': 1 row with a category", "'age': 1 row without", "'more' was not trained with"):
        assert words in told
    (tmp_path / "new.csv").write_text("age,dose\n50,2\n")
    with pytest.raises(InputError, match="must have the column 'town', which the run was trained with"):
        predict(runs["ce"].path, [tmp_path / "new.csv"])
    (tmp_path / "new.csv").write_text("age,dose,town,sick\n50,2,n,maybe\n")
    with pytest.raises(InputError, match="must be a class of the run, got 'maybe'"):
        predict(runs["ce"].path, [tmp_path / "new.csv"])


def test_a_changed_table_is_another_split(patients: Path, tmp_path: Path) -> None:
    above = {**TINY, "interference": {"enabled": False}}
    run = train(patients, method="ce", overrides=above, out=tmp_path / "run", console=None)
    before = patients.read_text()
    patients.write_text(before.replace('"p003",', '"p003",9', 1))
    try:
        assert patients.read_text() != before
        with pytest.raises(InputError, match="must give the split that"):
            diagnose(str(run.folder))
    finally:
        patients.write_text(before)
    damaged = (run.folder / "encoding.json").read_text().replace('"median": ', '"median": 1', 1)
    (run.folder / "encoding.json").write_text(damaged)
    (run.folder / "result.json").unlink()
    with pytest.raises(
        InputError, match=r"must give the encoding that .*encoding.json holds, got another one"
    ):
        train(patients, method="ce", overrides=above, out=run.folder, resume=True, console=None)


@pytest.mark.parametrize("method", ["hist_gradient_boosting", "self_paced_ensemble"])
def test_what_needs_a_network_says_that_trees_have_none(runs: dict[str, RunFolder], method: str) -> None:
    said = f"must be that of a network, got .* of {method}, which has none; take a run of another method"
    for measured in (restore, diagnose):
        with pytest.raises(InputError, match=said):
            measured(str(runs[method].path))


@pytest.fixture(scope="module")
def small() -> Source:
    return open_generated_rows(rows=150, factor=14)


def test_smote_fills_training_rows_only(small: Source) -> None:
    config, _ = configure(small, method="smote", regime="table")
    before = prepare(config, small)
    after = resampled(before.for_run(), config, Talk(None))
    assert after.made is not None
    assert np.bincount(after.training_labels).tolist() == [before.classes.counts[0]] * 2
    rows, target, index = after.made
    assert isinstance(rows, TableInputs)
    train_rows = {int(i) for i in before.split.train}
    assert {int(i) for i in index if i >= 0} == train_rows
    assert (index >= 0).sum() == len(train_rows)
    made = as_matrix(rows)[(index < 0).numpy()]
    own = as_matrix(before.images["train"])[before.source.labels[before.split.train] == 1]  # type: ignore[index]
    assert (target[index < 0] == 1).all()
    discrete = [*before.encoding.discrete, *range(before.encoding.width, made.shape[1])]  # type: ignore[union-attr]
    for column in discrete:
        assert set(made[:, column]) <= set(own[:, column])
    low, high = own.min(0) - 1e-5, own.max(0) + 1e-5
    assert ((made >= low) & (made <= high)).all()
    assert len(after.loader("train", 16).target) == len(train_rows)
    assert len(after.loader("train", 16, seed=0).target) == len(target)
    assert after.name(-1) == "a row that resampling made"


def test_rows_and_matrices_are_the_same_thing() -> None:
    rows = TableInputs(torch.rand(5, 3), torch.randint(0, 9, (5, 2)))
    back = as_rows(as_matrix(rows), 3)
    assert torch.equal(back.numbers, rows.numbers)
    assert torch.equal(back.categories, rows.categories)


def test_other_ways_to_resample(small: Source) -> None:
    for name, options in (("random_under", {}), ("random_over", {"sampling_strategy": 0.5})):
        config, _ = configure(small, method={"name": "x", "resample": {"name": name, "options": options}})
        found = resampled(prepare(config, small), config, Talk(None))
        n, rare = np.bincount(found.training_labels)
        assert rare == (n if name == "random_under" else n // 2)


def test_correcting_twice_is_refused(small: Source, tmp_path: Path) -> None:
    for method in (
        {"name": "x", "resample": {"name": "smote"}, "loss": {"name": "balanced_softmax"}},
        {"name": "x", "estimator": {"name": "self_paced_ensemble"}, "posthoc": ["logit_adjustment"]},
    ):
        with pytest.raises(InputError, match="corrected more than once|over-corrected|twice"):
            train(small, method=method, overrides={"train": {"epochs": 1}}, out=tmp_path / "r", console=None)


@pytest.mark.parametrize(
    ("resample", "estimator"),
    [
        ({"name": "smote"}, {"name": "self_paced_ensemble", "options": {"n_estimators": 2}}),
        (
            {"name": "random_over", "options": {"sampling_strategy": 0.5}},
            {"name": "hist_gradient_boosting", "options": {"max_iter": 2, "class_weight": "balanced"}},
        ),
    ],
)
def test_what_evens_the_classes_out_does_so_however_many_rows_were_made(
    small: Source, tmp_path: Path, resample: dict[str, Any], estimator: dict[str, Any]
) -> None:
    """Balanced subsets and weights go by the rows they are given: the prior is even, and not reversed."""
    method = {"name": "x", "resample": resample, "estimator": estimator}
    run = train(small, method=method, out=tmp_path / "r", console=None)
    prior = RunFolder(run.folder).result()["prior"]
    assert prior["prior"] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("above", "words"),
    [
        (
            {"model": {"name": "resnet8"}},
            "model.name must take rows of a table, got 'resnet8' for 'generated-rows'",
        ),
        ({"train": {"augment": ["flip"]}}, "train.augment is for images, got 'flip' for the table"),
        ({"train": {"precision": "bfloat16"}}, "train.precision is for images, got 'bfloat16'"),
        (
            {"mixing": {"name": "mixup"}},
            r"mixing.name is for images, got 'mixup'.*\(resample.name makes rows\)",
        ),
        ({"auxiliary": {"name": "nt_xent"}}, "auxiliary.views is for images, got '2'"),
        (
            {"resample": {"name": "smoet"}},
            r"resample.name must be a known name, got 'smoet'; did you mean 'smote'",
        ),
        (
            {"resample": {"name": "smote", "options": {"k": 3}}},
            r"resample.options.k is not an option of smote; choose from k_neighbors",
        ),
        ({"estimator": {"name": "xgb"}}, "estimator.name must be a known name, got 'xgb'"),
        (
            {"estimator": {"name": "self_paced_ensemble", "options": {"bins": 3}}},
            r"estimator.options.bins is not an option of self_paced_ensemble; did you mean 'k_bins'",
        ),
    ],
)
def test_what_is_for_images_is_refused_by_name(small: Source, above: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        configure(small, method="ce", regime="table", overrides=above)


@pytest.mark.parametrize(
    ("regime", "method", "words"),
    [
        ("table", "ce", "model.name must take images, got 'mlp' for 'digits-lt'; it is for tables"),
        ("digits", "smote", "resample.name must be none for images, got 'smote' for 'digits-lt'"),
        (
            "digits",
            "self_paced_ensemble",
            "estimator.name must be none for images, got 'self_paced_ensemble'",
        ),
    ],
)
def test_what_is_for_tables_is_refused_for_images(regime: str, method: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        configure("digits-lt", method=method, regime=regime)


@pytest.mark.parametrize(
    "estimator",
    [
        {"name": "hist_gradient_boosting", "options": {"learning_rate": -1}},
        {"name": "self_paced_ensemble", "options": {"n_estimators": 0}},
    ],
)
def test_options_out_of_range_are_refused(small: Source, tmp_path: Path, estimator: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="estimator.options must fit|must be a whole number"):
        train(small, method={"name": "x", "estimator": estimator}, out=tmp_path / "r", console=None)


def test_a_run_that_fails_takes_no_finished_estimator_with_it(small: Source, tmp_path: Path) -> None:
    trees = {"name": "hist_gradient_boosting", "options": {"max_iter": 2}}
    wrong = {**trees, "options": {"max_iter": 2, "learning_rate": -1}}
    methods = {"good": {"estimator": trees}, "bad": {"estimator": wrong}}
    with pytest.raises(InputError, match=r"1 of 2 runs failed, the others in .* are kept"):
        compare(small, methods, seeds=1, out=tmp_path / "s", console=None)
    (kept,) = (tmp_path / "s").rglob("result.json")
    assert ".good." in kept.parent.name


@pytest.mark.parametrize("regime", ["table-resnet", "table-ft"])
def test_the_library_s_networks_train_and_come_back(small: Source, regime: str, tmp_path: Path) -> None:
    pytest.importorskip("rtdl_revisiting_models", reason="needs the extra tables")
    options = {"table-ft": {"blocks": 1, "width": 8}, "table-resnet": {"blocks": 1, "width": 8}}[regime]
    above = {**TINY, "data": {}, "model": {"options": options}, "interference": {"enabled": False}}
    run = train(small, method="ldam_drw", regime=regime, overrides=above, out=tmp_path / "run", console=None)
    ready = prepare(compose("x", regime, "ce"), small)
    stored = np.array([row["logits"] for row in rows_of(RunFolder(run.folder))])
    with torch.no_grad():
        found = restore(run.folder).model(ready.images["test"])  # type: ignore[index]
    np.testing.assert_allclose(found, stored, atol=1e-5)


@pytest.mark.parametrize("method", ["bbn", "sam", "pcgrad", "csba", "crt", "feature_smote", "ride"])
def test_methods_made_for_images_work_on_rows(small: Source, method: str, tmp_path: Path) -> None:
    above = {
        **TINY,
        "data": {},
        "model": {"options": {"hidden": [8, 8, 8]}},
        "interference": {"enabled": False},
    }
    content = choose(small, [method], "table", {}, Talk(None)).overlays[method]
    short = [{**stage, "epochs": 1} if "epochs" in stage else stage for stage in content.get("stages", [])]
    content = {**content, "stages": short}
    if "architecture" in content:  # a perceptron has no large stages to find the place by
        options = {**content["architecture"].get("options", {}), "share_until": "blocks.0"}
        content["architecture"] = {**content["architecture"], "options": options}
    run = train(small, method=content, overrides=above, out=tmp_path / "run", console=None)
    assert 0 <= run.macro_f1 <= 1


def test_all_methods_are_sifted_for_a_table(small: Source) -> None:
    sieve = Sieve(small, "table", {}, {})
    content = choose(small, ["mixup", "balanced_softmax", "smote"], "table", {}, Talk(None)).overlays
    assert "mixing.name is for images" in sieve.why_not("mixup", content["mixup"])
    assert [sieve.why_not(name, content[name]) for name in ("balanced_softmax", "smote")] == ["", ""]


def test_conflicting_items_are_those_that_share_a_group_and_not_a_class() -> None:
    random = np.random.default_rng(0)
    groups, labels = random.integers(0, 20, 60), random.integers(0, 2, 60)
    expected = [
        i for i in range(60) if any(groups[i] == groups[j] and labels[i] != labels[j] for j in range(60))
    ]
    assert conflicting(groups, labels).tolist() == expected
    assert conflicting(groups[:0], labels[:0]).tolist() == []


def test_settling_speed_leaves_the_network_as_it_was() -> None:
    model = create_model("mlp", 2, backbone_options={"numbers": 3, "categories": [4]})
    before = [parameter.clone() for parameter in model.parameters()]
    state = torch.get_rng_state()
    found = settle_rows(compose("x", "table", "ce"), model, (3, 1), 10)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert (found.keys["precision"], found.keys["channels_last"], found.keys["compile"]) == (
        "float32",
        False,
        "off",
    )
