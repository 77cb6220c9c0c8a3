"""Runs on tables as artefacts: the same classes, remarks and refusals as by the run, without its network."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tailgrad.checks import InputError
from tailgrad.data.table import read_table
from tailgrad.data.table_encoding import CategoryCode, NumberCode, TableEncoding, load_encoding
from tailgrad.files import write_json
from tailgrad.models import create_model
from tailgrad.posthoc import Chain, LogitAdjustment
from tailgrad.recipes import RunFolder, train
from tailgrad.recipes import predict as predict_by_run
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.row_parts import Unchanged
from tailgrad.ship import Artefact, Exported, export, from_pretrained, predict, save_pretrained
from tailgrad.ship.agreement import agreement
from tailgrad.ship.convert import WithProbabilities, _exported, _quietly, converted
from tailgrad.ship.deployed_rows import DeployedRows
from tailgrad.ship.description import ROWS, Description, Preprocessing
from tailgrad.ship.examples import random_examples
from tailgrad.ship.int8 import quantized
from tailgrad.ship.seal import sealed
from tailgrad.types import TableInputs

FEW: dict[str, Any] = {
    "data": {"target": "sick", "drop": ["patient"]},
    "model": {"options": {"hidden": [8]}},
    "train": {"epochs": 6, "batch_size": 8, "threads": 1},
    "optim": {"lr": 0.02},
    "interference": {"enabled": False},
}
FORM = Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
SOME = TableEncoding(
    target="sick",
    classes=("no", "yes"),
    numbers=(NumberCode(name="age", median=4, mean=5, std=2, indicator=True),),
    categories=(CategoryCode(name="town", words=("e", "n")),),
)

OTHER = SOME.model_copy(update={"classes": ("a", "b")})
NONE = SOME.model_copy(update={"numbers": (), "categories": ()})


def rows(n: int, seed: int) -> dict[str, Any]:
    """Rows of which every fourth is sick, with missing values of both kinds."""
    random, sick = np.random.default_rng(seed), np.arange(n) % 4 == 0
    ages, towns = random.normal(50, 10, n) + 9 * sick, random.choice(["n", "s", "e"], n)
    return {
        "patient": [f"p{i:03d}" for i in range(n)],
        "age": [None if i % 11 == 0 else round(float(age), 1) for i, age in enumerate(ages)],
        "dose": (random.normal(2, 1, n) + 2 * sick).round(2).tolist(),
        "town": [None if i % 17 == 0 else str(town) for i, town in enumerate(towns)],
        "sick": np.where(sick, "yes", "no").tolist(),
    }


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "patients.csv"
    pyarrow.csv.write_csv(pa.table(rows(120, 0)), path)
    return path


@pytest.fixture(scope="module")
def run(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the loss correct its prior, and nothing calibrates it."""
    place = tmp_path_factory.mktemp("runs") / "one"
    return train(patients, method="class_weights", overrides=FEW, out=place, console=None).folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(run, tmp_path_factory.mktemp("shipped") / "model.onnx")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New rows: an unseen town, missing values, a column that no one knows, columns in another order."""
    columns = rows(30, 1) | {"more": list(range(30))}
    columns["town"][3] = "mars"
    columns["dose"][5] = None
    path = tmp_path_factory.mktemp("new") / "new.parquet"
    pq.write_table(pa.table({name: columns[name] for name in reversed(list(columns))}), path)
    return path


class Listener:
    """A console that keeps what is said."""

    is_terminal = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, text: object, **_: Any) -> None:
        self.lines.append(str(text))


def copied(run: Path, place: Path, **entries: Any) -> Path:
    """A copy of the run with other entries in its result."""
    copy = Path(shutil.copytree(run, place))
    write_json(copy / "result.json", RunFolder(copy).result() | entries)
    return copy


def test_an_artefact_says_of_new_rows_what_its_run_says(run: Path, exported: Exported, new: Path) -> None:
    heard, wanted = Listener(), Listener()
    found = predict(exported.file, [new], console=heard)
    by_run = predict_by_run(run, [new], console=wanted)  # type: ignore[arg-type]
    assert len(found) == 30
    assert len({one.name for one in found}) == 2
    for one, other in zip(found, by_run, strict=True):
        assert (one.file, one.name, one.label, one.error) == (other.file, other.name, other.label, "")
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert found[7].file == f"{new}#7"
    assert [one.label for one in found] == rows(30, 1)["sick"]
    assert heard.lines == wanted.lines
    for words in ("'town': 1 row with", "'dose': 1 row without", "'more' was not trained with"):
        assert any(words in line for line in heard.lines)


def test_logits_of_encoded_rows_are_those_of_the_network(run: Path, exported: Exported) -> None:
    """The encoding by hand: standardised, the median where missing, 0 for an unseen word."""
    shipped, network = Artefact(exported.file), restore(run)
    encoding = load_encoding(run / "encoding.json")
    age, dose = encoding.numbers
    (town,) = encoding.categories
    values = np.array([[(61 - age.mean) / age.std, (2 - dose.mean) / dose.std, 0]], np.float32)
    missing = np.array([[(age.median - age.mean) / age.std, (1 - dose.mean) / dose.std, 1]], np.float32)
    feed = {
        "numbers": np.concatenate([values, missing]),
        "categories": np.array([[1 + town.words.index("n")], [0]]),
    }
    with torch.no_grad():
        inputs = TableInputs(torch.from_numpy(feed["numbers"]), torch.from_numpy(feed["categories"]))
        wanted = network.model(inputs).double().numpy()
    for count in (0, 1, 2):
        some = {name: array[:count] for name, array in feed.items()}
        np.testing.assert_allclose(shipped.logits(some), wanted[:count], atol=1e-5)
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    logits, shares = session.run(["logits", "probabilities"], feed)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)
    np.testing.assert_allclose(shares, torch.from_numpy(wanted).softmax(1), atol=1e-5)


def test_the_description_holds_the_encoding_and_speaks_of_rows(run: Path, exported: Exported) -> None:
    about, result = exported.description, RunFolder(run).result()
    assert (about.task, about.kind, about.preprocessing) == (ROWS, "rows", None)
    assert about.encoding == load_encoding(run / "encoding.json")
    assert about.names == ("no", "yes")
    assert about.prior == tuple(result["prior"]["prior"])
    assert about.check["source"] == "test rows of the run"
    assert about.check["difference"] <= 1e-4
    said = " ".join(about.limits)
    assert "A row of none of the classes" in said
    assert "Fewer than 30 test rows" in said
    assert f"on {result['train_images']} rows of" in said
    assert "image" not in said


def test_predicting_rows_from_an_artefact_loads_no_pytorch(
    exported: Exported, new: Path, tmp_path: Path
) -> None:
    words = ["predict", str(exported.file), str(new), "--csv", str(tmp_path / "p.csv")]
    code = (
        f"import sys\nsys.argv = ['tailgrad', *{words!r}]\nfrom tailgrad.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "for name in ('torch', 'torchvision', 'scipy', 'onnx', 'timm', 'sklearn', 'lightning'):\n"
        "    assert name not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{new}: column 'town': 1 row with a category that training has not seen" in done.stderr
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0].endswith(",label,abstained,error")
    assert len(lines) == 31
    assert lines[1].startswith(f"{new}#0,")


def test_the_target_prior_moves_rows_by_bayes_rule(
    run: Path, exported: Exported, new: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    made = export(run, tmp_path / "there.onnx", target_prior="no=0.3,yes=0.7", say=said.append)
    assert any("check on labelled rows" in one for one in said)
    prior = np.array(RunFolder(run).result()["prior"]["prior"])
    plain = np.array([one.probabilities for one in predict(exported.file, [new])])
    wanted = plain / prior * (0.3, 0.7)
    wanted /= wanted.sum(1, keepdims=True)
    for form, asked in ((made.file, {}), (exported.file, {"target_prior": {"no": 0.3, "yes": 0.7}})):
        found = predict(form, new, **asked)
        np.testing.assert_allclose([one.probabilities for one in found], wanted, atol=1e-5)
        assert [one.name for one in found] == [("no", "yes")[k] for k in wanted.argmax(1)]
        assert [one.label for one in found] == rows(30, 1)["sick"]


def test_abstention_runners_up_and_a_class_in_focus(run: Path, new: Path, tmp_path: Path) -> None:
    shares = sorted(one.probabilities[1] for one in predict(run, [new]))
    middle = (shares[14] + shares[15]) / 2
    folder = copied(run, tmp_path / "focus", focus={"class": "yes", "threshold": middle})
    made = export(folder, abstain=0.6)
    assert made.file == folder / "model.onnx"
    found, wanted = predict(made.file, [new], top_k=2), predict(folder, [new], top_k=2, abstain=0.6)
    assert sum(one.name == "yes" for one in found) == 15
    for one, other in zip(found, wanted, strict=True):
        assert (one.name, one.abstained, one.label) == (other.name, other.abstained, other.label)
        assert [name for name, _ in one.top] == [name for name, _ in other.top]
    assert {one.abstained for one in found} == {True, False}
    assert not any(one.abstained for one in predict(made.file, [new], abstain=0))


def test_a_temperature_is_fitted_on_validation_rows(run: Path, new: Path, tmp_path: Path) -> None:
    made = export(run, tmp_path / "warm.onnx", calibrate=True)
    about = made.description
    stored = [row for row in pq.read_table(run / "predictions.parquet").to_pylist() if row["part"] == "val"]
    assert about.calibration.endswith(f"fitted at export on {len(stored)} validation rows")
    assert about.temperature != 1
    plain = np.array([one.probabilities for one in predict(run, [new])]) ** (1 / about.temperature)
    found = [one.probabilities for one in predict(made.file, [new])]
    np.testing.assert_allclose(found, plain / plain.sum(1, keepdims=True), atol=1e-5)


def test_int8_shows_what_it_costs_each_class(
    run: Path, exported: Exported, patients: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    made = export(run, tmp_path / "small.onnx", int8=True, say=said.append)
    cost = made.description.int8
    split = json.loads((run / "split.json").read_text())["parts"]
    places = [int(name.removeprefix("row ")) for name in split["test"]["names"]]
    pq.write_table(read_table(patients).take(places), tmp_path / "test.parquet")
    pair = (predict(form, [tmp_path / "test.parquet"]) for form in (exported.file, made.file))
    before, after = ([one.name for one in found] for found in pair)
    truth = [("no", "yes")[k] for k in split["test"]["labels"]]
    assert f"int8: {cost['changed']} of {len(truth)} predictions on test rows change" in said
    assert cost["changed"] == sum(a != b for a, b in zip(after, before, strict=True))
    assert cost["calibrated_on"] == len(split["train"]["names"])
    for row in cost["classes"]:
        own = [i for i, name in enumerate(truth) if name == row["name"]]
        assert row["support"] == len(own)
        assert row["before"]["value"] == pytest.approx(np.mean([before[i] == row["name"] for i in own]))
        assert row["after"]["value"] == pytest.approx(np.mean([after[i] == row["name"] for i in own]))


def test_an_extreme_row_changes_nothing_beside_it_in_int8() -> None:
    given, feed = network("mlp", "both"), feed_of("both", 40)
    _, model = next(converted(WithProbabilities(DeployedRows(given, tuple(feed)), 1.0, None), feed))
    session = onnxruntime.InferenceSession(quantized(model, feed), providers=["CPUExecutionProvider"])
    (plain,) = session.run(["logits"], feed)
    with torch.no_grad():
        inputs = TableInputs(torch.from_numpy(feed["numbers"]), torch.from_numpy(feed["categories"]))
        wanted = given.posthoc.transform(given.model(inputs)).numpy()
    assert 0 < np.abs(plain - wanted).max() < 0.05 * np.ptp(wanted)
    feed["numbers"][0] = 1e5
    np.testing.assert_array_equal(session.run(["logits"], feed)[0][1:], plain[1:])


def test_without_its_table_a_run_is_compared_on_random_rows(
    run: Path, patients: Path, exported: Exported, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "gone"))
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace(str(patients), str(tmp_path / "other.csv")))
    said: list[str] = []
    made = export(copy, say=said.append)
    assert made.description.check["source"] == "random rows"
    assert said[1].startswith("compared on random rows: rows of the run must be at hand")
    with pytest.raises(InputError, match=r"rows of the run must be at hand, got .*other\.csv"):
        export(copy, tmp_path / "m.onnx", int8=True)
    changes: dict[str, Callable[[pa.Table], pa.Table]] = {
        "hold the labels that it held": lambda table: table.take(list(range(1, 120))),
        "have the columns that it had, got .* without 'dose'": lambda table: table.drop_columns(["dose"]),
        "rows of .* must be at hand, got none of its train rows": lambda table: table,
    }
    for words, change in changes.items():
        pyarrow.csv.write_csv(change(read_table(patients)), tmp_path / "other.csv")
        kept = json.loads((copy / "split.json").read_text())
        if "none" in words:
            kept["parts"]["train"] = {"names": ["row 500"], "labels": [0]}
            write_json(copy / "split.json", kept)
        with pytest.raises(InputError, match=words):
            export(copy, tmp_path / "m.onnx", int8=True)
    assert not (tmp_path / "m.onnx").exists()


NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8]},
    "table_resnet": {"blocks": 1, "width": 8},
    "ft_transformer": {"blocks": 1, "width": 8},
}
COLUMNS = {"both": (3, [2, 4]), "numbers": (3, []), "categories": (0, [2, 4])}


def network(name: str, columns: str, **more: Any) -> Restored:
    torch.manual_seed(0)
    numbers, categories = COLUMNS[columns]
    options = NETWORKS[name] | {"numbers": numbers, "categories": categories}
    model = create_model(name, 3, backbone_options=options, **more).eval()
    steps = Chain([LogitAdjustment([90, 9, 1])])
    return Restored(model, tuple("abc"), (1, 1), "squash", Unchanged(), steps)


def feed_of(columns: str, n: int = 5) -> dict[str, np.ndarray]:
    numbers, categories = COLUMNS[columns]
    random = np.random.default_rng(0)
    both = {
        "numbers": random.normal(size=(n, numbers)).astype(np.float32),
        "categories": random.integers(0, np.array(categories, int) + 1, (n, len(categories))),
    }
    return {name: values for name, values in both.items() if values.shape[1]}


def check(given: Restored, columns: str, way: Callable[..., bytes] | None = None) -> None:
    """A graph gives, for any number of rows, what the network as it was trained gives."""
    feed = feed_of(columns)
    whole = WithProbabilities(DeployedRows(given, tuple(feed)), 1.0, None).eval()
    tensors = {name: torch.from_numpy(values) for name, values in feed.items()}
    _, model = next(converted(whole, feed)) if way is None else ("", _quietly(way, whole, tensors))
    assert agreement(model, given, feed).fine
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(feed)
    none = torch.zeros(5, 0)
    inputs = TableInputs(tensors.get("numbers", none), tensors.get("categories", none.long()))
    with torch.no_grad():
        wanted = given.posthoc.transform(given.model(inputs)).numpy()
    for count in (1, 3, 5):
        (found,) = session.run(["logits"], {name: values[:count] for name, values in feed.items()})
        np.testing.assert_allclose(found, wanted[:count], atol=1e-4)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_with_columns_of_either_kind(name: str, columns: str) -> None:
    if name != "mlp":
        pytest.importorskip("rtdl_revisiting_models")
    check(network(name, columns, head="csba"), columns)


@pytest.mark.parametrize("architecture", ["multi_expert", "bbn"])
def test_networks_of_several_branches(architecture: str) -> None:
    options = {"share_until": "columns"}
    check(network("mlp", "both", architecture=architecture, architecture_options=options), "both")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "ft_transformer"])
def test_torch_export_leaves_the_number_of_rows_free(name: str) -> None:
    if name != "mlp":
        pytest.importorskip("rtdl_revisiting_models")
    check(network(name, "both"), "both", _exported)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (
            "hist_gradient_boosting",
            "got .* of hist_gradient_boosting, which predict fits again",
        ),
        ("self_paced_ensemble", "ship a run of a network, such as one of --method balanced_softmax"),
    ],
)
def test_trees_are_refused(patients: Path, tmp_path: Path, method: str, words: str) -> None:
    overrides = {key: value for key, value in FEW.items() if key != "model"}
    made = train(patients, method=method, overrides=overrides, out=tmp_path / "trees", console=None)
    for ship in (export, lambda run: save_pretrained(run, tmp_path / "folder")):
        with pytest.raises(InputError, match=words):
            ship(made.folder)
    assert not (tmp_path / "folder").exists()
    assert not list(made.folder.glob("*.onnx"))


def test_encodings_of_other_weights_are_refused(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    kept = json.loads((copy / "encoding.json").read_text())
    town = kept["categories"][0]
    for change in ({"categories": [town | {"words": ["n"]}]}, {"numbers": kept["numbers"][:1]}):
        write_json(copy / "encoding.json", kept | change)
        with pytest.raises(InputError, match=r"encoding\.json must describe the columns and classes of"):
            export(copy)
    (copy / "encoding.json").unlink()
    with pytest.raises(InputError, match=r"encoding\.json must be the encoding of a run on a table"):
        export(copy)


BAD = {
    "age,dose\n50,2\n": "must have the column 'town', which the run was trained with",
    "age,dose,town\nold,2,n\n": "column 'age' must hold numbers, as in training, got 'old'",
    "age,dose,town\ninf,2,n\n": "column 'age' must be finite, got inf in row 0",
    "age,dose,town,sick\n50,2,n,maybe\n": "must be a class of the run, got 'maybe'",
    "age,dose,town\n": "must hold a header and rows",
    "age,age,town\n1,2,n\n": "different names, got 'age' twice",
}


@pytest.mark.parametrize("text", BAD)
def test_wrong_tables_are_refused_as_by_the_run(
    run: Path, exported: Exported, tmp_path: Path, text: str
) -> None:
    (tmp_path / "new.csv").write_text(text)
    said = []
    for form in (run, exported.file):
        with pytest.raises(InputError, match=re.escape(BAD[text])) as refusal:
            predict(form, [tmp_path / "new.csv"])
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_what_is_no_table_is_refused_as_by_the_run(run: Path, exported: Exported, tmp_path: Path) -> None:
    for given, words in (([], "at least one file"), ([tmp_path], "ending in"), (["no.csv"], "readable")):
        for form in (run, exported.file):
            with pytest.raises(InputError, match=words):
                predict(form, given)


def test_altered_files_and_wrong_wishes_are_refused(exported: Exported, new: Path, tmp_path: Path) -> None:
    data = bytearray(exported.file.read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(InputError, match="altered or damaged"):
        predict(tmp_path / "m.onnx", [new])
    with pytest.raises(InputError, match="must sum to 1"):
        predict(exported.file, [new], target_prior=[0.1, 0.1])
    with pytest.raises(InputError, match="must be a whole number"):
        predict(exported.file, [new], top_k=1.5)  # type: ignore[arg-type]


def test_a_description_of_another_graph_is_refused(tmp_path: Path) -> None:
    given, feed = network("mlp", "both"), feed_of("both")
    _, model = next(converted(WithProbabilities(DeployedRows(given, tuple(feed)), 1.0, None), feed))
    one_kind = SOME.model_copy(update={"classes": ("a", "b", "c"), "categories": ()})
    images = Description(names=tuple("abc"), counts=(9, 5, 1), preprocessing=FORM)
    rows_ = Description(names=tuple("abc"), counts=(9, 5, 1), task=ROWS, encoding=one_kind)
    for about, words in ((images, "take images alone"), (rows_, "take numbers alone, got .*categories")):
        (tmp_path / "m.onnx").write_bytes(sealed(model, about.model_dump_json()))
        with pytest.raises(InputError, match=words):
            Artefact(tmp_path / "m.onnx")


def test_rows_of_another_form_are_refused(exported: Exported) -> None:
    shipped = Artefact(exported.file)
    numbers, categories = np.zeros((2, 3), np.float32), np.zeros((2, 1), np.int64)
    wrong: list[tuple[Any, str]] = [
        (np.zeros((2, 3, 8, 8), np.uint8), "inputs must be numbers and categories, got images"),
        ({"numbers": numbers}, "inputs must be numbers and categories, got numbers"),
        ({"numbers": numbers.astype(float), "categories": categories}, r"numbers must be float32 \[2, 3\]"),
        ({"numbers": numbers[:, :2], "categories": categories}, r"got float32 \[2, 2\]"),
        ({"numbers": numbers, "categories": categories[:1]}, r"categories must be int64 \[2, 1\]"),
        ({"numbers": numbers + np.nan, "categories": categories}, "numbers must be finite"),
        ({"numbers": numbers, "categories": categories - 1}, "categories must be from 0 to"),
        ({"numbers": numbers, "categories": categories + 9}, "categories must be from 0 to"),
    ]
    for feed, words in wrong:
        with pytest.raises(InputError, match=words):
            shipped.logits(feed)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task": ROWS}, "encoding of columns is missing"),
        ({"task": ROWS, "preprocessing": FORM}, "encoding of columns is missing"),
        ({"task": ROWS, "encoding": SOME, "preprocessing": FORM}, "preprocessing of images is there"),
        ({"encoding": SOME, "preprocessing": FORM}, "encoding of columns is there"),
        ({}, "preprocessing of images is missing"),
        ({"task": ROWS, "encoding": SOME, "thresholds": (0.5, 0.5)}, "thresholds of labels are there"),
        ({"task": ROWS, "encoding": OTHER}, "encoding has 2 classes that are not the 2 names"),
        ({"task": ROWS, "encoding": NONE}, "encoding without columns"),
    ],
)
def test_a_description_holds_what_its_task_asks_for(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Description(names=("no", "yes"), counts=(9, 1), **fields)


def test_random_rows_are_of_the_encoding() -> None:
    about = Description(names=("no", "yes"), counts=(9, 1), task=ROWS, encoding=SOME)
    feed = random_examples(about)
    assert (feed["numbers"].shape, feed["numbers"].dtype) == ((16, 2), np.float32)
    assert set(feed["numbers"][:, 1]) == {0, 1}, "whether a value was missing"
    assert set(feed["categories"][:, 0]) == {0, 1, 2}
    bare = about.model_copy(update={"encoding": SOME.model_copy(update={"numbers": ()})})
    assert list(random_examples(bare)) == ["categories"]


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(run, tmp_path_factory.mktemp("hub") / "mine")


def test_a_folder_says_of_new_rows_what_its_run_says(run: Path, folder: Path, new: Path) -> None:
    heard, wanted = Listener(), Listener()
    asked: dict[str, Any] = {"top_k": 2, "abstain": 0.6, "target_prior": "uniform"}
    assert predict(folder, new, **asked, console=heard) == predict(run, new, **asked, console=wanted)
    assert heard.lines == wanted.lines
    again = from_pretrained(folder)
    assert again.predict([new]) == predict(run, [new])
    assert again.description.encoding == load_encoding(run / "encoding.json")
    one = TableInputs(torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.int64))
    assert again.model(one).shape == (2, 2)


def test_the_folder_and_its_card_speak_of_rows_and_columns(run: Path, folder: Path, patients: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert str(patients.parent) not in (folder / "config.json").read_text(), "no path of the machine goes out"
    text = (folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["pipeline_tag"] == "tabular-classification"
    assert header["model-index"][0]["results"][0]["task"] == {"type": "tabular-classification"}
    encoding = load_encoding(run / "encoding.json")
    for line in (
        f"| age | number | median {encoding.numbers[0].median:.4g} |",
        f"| town | category | {encoding.categories[0].cardinality} seen in training |",
        "| class | training rows | test rows |",
        "rows of 2 numeric columns, 1 column of categories",
        'model.predict(["rows.csv"])  # one of 2 classes',
    ):
        assert line in text
    assert "image" not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about["encoding"]["categories"][0].update(words=["n"]), "must describe the columns"),
        (
            lambda about: about["encoding"]["numbers"][0].update(std=0),
            "must hold what tailgrad export",
        ),
        (lambda about: about["encoding"]["categories"][0].update(name="age"), "two columns of one name"),
        (
            lambda about: about.update(
                task="images, one label", encoding=None, preprocessing=FORM.model_dump(mode="json")
            ),
            "must describe the weights beside it",
        ),
    ],
)
def test_a_spoilt_configuration_is_refused(folder: Path, tmp_path: Path, change: Any, said: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    change(config["tailgrad"])
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said):
        from_pretrained(copy)
