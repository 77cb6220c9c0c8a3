"""The Hugging Face layout: the same predictions back, a card that says what the run says, spoilt folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

import tailgrad
from tailgrad.checks import InputError
from tailgrad.recipes import RunFolder
from tailgrad.recipes import predict as predict_by_run
from tailgrad.ship import from_pretrained, predict, save_pretrained
from tailgrad.ship.description import Preprocessing
from tailgrad.ship.hub_layout import preprocessor


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(run, tmp_path_factory.mktemp("hub") / "mine")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_network_comes_back_as_it_was(run: Path, photos: Path, folder: Path) -> None:
    again = from_pretrained(folder)
    wanted = predict_by_run(run, [photos])
    for found in (again.predict([photos]), predict(folder, [photos])):
        assert [one.probabilities for one in found] == [one.probabilities for one in wanted]
        assert [one.name for one in found] == [one.name for one in wanted]
    assert again.names == ("round", "square", "thin")
    assert again.model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    shifted = predict(folder, [photos / "round"], target_prior="train", abstain=0.99, top_k=3)
    wanted = predict(run, [photos / "round"], target_prior="train", abstain=0.99, top_k=3)
    assert shifted == wanted


def test_the_layout_is_that_of_the_hub(run: Path, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "round", "1": "square", "2": "thin"}
    assert config["label2id"] == {"round": 0, "square": 1, "thin": 2}
    assert str(run.parent) not in (folder / "config.json").read_text(), "no path of the machine goes out"
    form = json.loads((folder / "preprocessor_config.json").read_text())
    assert (form["size"], form["rescale_factor"]) == ({"height": 32, "width": 32}, pytest.approx(1 / 255))
    before = load_file(RunFolder(run).weights)
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_processor_crops_what_the_network_got_cropped() -> None:
    form = Preprocessing(size=(32, 32), resize="crop", mean=(0, 0, 0), std=(1, 1, 1))
    found = preprocessor(form)
    assert found["do_center_crop"]
    assert (found["size"], found["crop_size"]) == ({"shortest_edge": 32}, {"height": 32, "width": 32})
    squashed = preprocessor(form.model_copy(update={"resize": "squash"}))
    assert (squashed["do_center_crop"], squashed["size"]) == (False, {"height": 32, "width": 32})


def test_the_card_carries_every_class_with_intervals_conflict_ledger_and_limits(
    run: Path, folder: Path
) -> None:
    text = (folder / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    result = RunFolder(run).result()
    assert ModelCard(text).data.eval_results[0].dataset_split == "test"
    (model,) = yaml.safe_load(header)["model-index"]
    figures = {one["type"]: one["value"] for one in model["results"][0]["metrics"]}
    assert figures["macro_f1"] == round(result["test"]["macro_f1"]["value"], 4)
    for row in result["test"]["classes"]:
        f1 = row["f1"]
        wanted = f"{f1['value']:.3f} [{f1['low']:.3f}, {f1['high']:.3f}]"
        line = next(
            line for line in body.splitlines() if line.startswith(f"| {row['name']} | {row['train_count']}")
        )
        assert line.endswith(f"{wanted} |")
    assert "so the excess is" in body
    assert "loss cross_entropy (weight)" in body
    assert "## Limits" in body


def test_names_cannot_write_the_card(folder: Path) -> None:
    from tailgrad.ship.model_card import model_card

    about = from_pretrained(folder).description
    bad = "<img src=x>|a`b[c](d)\n# e"
    rows = [about.per_class[0] | {"name": bad}, *about.per_class[1:]]
    text = model_card(about.model_copy(update={"per_class": rows}), bad)
    body = text.split("---\n", 2)[2]
    assert "<img" not in body
    assert "\n# e" not in body
    assert yaml.safe_load(text.split("---\n", 2)[1])["model-index"][0]["name"] == bad


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("tailgrad"), "must hold what tailgrad writes"),
        (lambda c: c["tailgrad"].update(format=2), "of format 2"),
        (lambda c: c["tailgrad"].update(names=["a", "b", "c"], per_class=[]), "must describe the weights"),
        (lambda c: c["tailgrad"]["preprocessing"].update(size=[8, 8]), "must describe the weights"),
        (lambda c: c["tailgrad_config"].update(epochs=3), "tailgrad_config|epochs"),
        (lambda c: c["tailgrad_config"].update(architecture={"name": "bbn"}), "weights must fit"),
    ],
)
def test_a_spoilt_configuration_is_refused(copy: Path, change: Any, said: str) -> None:
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said):
        from_pretrained(copy)


def test_spoilt_and_missing_weights_are_refused(copy: Path) -> None:
    path = copy / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="weights must be as they were written"):
        from_pretrained(copy)
    path.unlink()
    with pytest.raises(InputError, match="weights must be a readable safetensors file"):
        from_pretrained(copy)
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match="config.json must be a readable JSON object"):
        from_pretrained(copy)


@pytest.mark.parametrize("name", ["nowhere", "../nowhere/x", "a/b/c", "https://x/y", "~/x y"])
def test_what_is_neither_a_folder_nor_a_name_on_the_hub_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"must be a folder of save_pretrained or owner/name"):
        from_pretrained(name)


def test_a_file_is_no_folder(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artefact.parent.parent)
    with pytest.raises(
        InputError, match=r"got the file '.*model.onnx'; an exported file is for tailgrad.predict"
    ):
        from_pretrained(f"{artefact.parent.name}/{artefact.name}")  # looks like owner/name on the hub


def test_only_files_of_the_layout_are_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def fetch(name: str, **options: Any) -> str:
        asked.append((name, sorted(options["allow_patterns"])))
        if name == "some/other":
            raise OSError("no route")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert from_pretrained("some/one").names == ("round", "square", "thin")
    wanted = [
        "README.md",
        "config.json",
        "model.safetensors",
        "posthoc.safetensors",
        "preprocessor_config.json",
    ]
    assert asked == [("some/one", wanted)]
    with pytest.raises(InputError, match=r"at hand or on the hub, got 'some/other': OSError: no route"):
        from_pretrained("some/other")


def test_a_folder_that_holds_files_is_left_alone(run: Path, copy: Path) -> None:
    before = (copy / "README.md").read_bytes()
    with pytest.raises(InputError, match="new or empty"):
        save_pretrained(run, copy)
    assert (copy / "README.md").read_bytes() == before


def test_a_result_that_makes_no_card_leaves_no_folder(altered: Callable[..., Path], tmp_path: Path) -> None:
    prior = {"prior": [0.2, 0.3, 0.5], "components": [3]}
    with pytest.raises(InputError, match=r"result\.json must hold what tailgrad writes, got TypeError"):
        save_pretrained(altered(prior=prior), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_class_in_focus_decides_as_the_run_does(
    photos: Path, altered: Callable[..., Path], run: Path, tmp_path: Path
) -> None:
    shares = sorted(one.probabilities[2] for one in predict(run, [photos]))
    folder = altered(focus={"class": "thin", "threshold": shares[len(shares) // 2]})
    place = save_pretrained(folder, tmp_path / "out")
    wanted = predict(folder, [photos])
    assert {one.name == "thin" for one in wanted} == {True, False}
    assert predict(place, [photos]) == wanted
    card = (place / "README.md").read_text()
    threshold = f"{shares[len(shares) // 2]:.4g}"
    assert f"`predict` chooses thin wherever its probability reaches {threshold}" in card
    assert "`predict` chooses" not in (save_pretrained(run, tmp_path / "b") / "README.md").read_text()


def test_a_card_of_many_classes_says_where_the_others_are(folder: Path) -> None:
    from tailgrad.ship.model_card import model_card

    about = from_pretrained(folder).description
    names = [f"c{k:03d}" for k in range(203)]
    many = about.model_copy(
        update={
            "names": tuple(names),
            "counts": (1,) * 203,
            "prior": (1 / 203,) * 203,
            "per_class": [about.per_class[0] | {"name": name} for name in names],
        }
    )
    text = model_card(many, "many")
    assert text.count("3 further classes are in `config.json`.") == 2
    assert (text.count("| c199 |"), text.count("| c200 |")) == (2, 0)


def test_a_card_says_what_is_not_known(folder: Path) -> None:
    from tailgrad.ship.model_card import interval, model_card

    about = from_pretrained(folder).description
    bare = about.model_copy(update={"per_class": [], "prior": None, "conflict": [], "headline": {}})
    text = model_card(bare, "bare")
    assert "No test figures are known." in text
    assert "The prior that the probabilities stand for is not known." in text
    assert "## Conflict" not in text
    assert interval({"value": None}) == "unknown"
    assert interval({"value": 0.5, "low": None, "high": 0.6}) == "0.500"


def test_public_names() -> None:
    assert tailgrad.save_pretrained is save_pretrained
    assert tailgrad.from_pretrained is from_pretrained
    assert tailgrad.predict is predict
