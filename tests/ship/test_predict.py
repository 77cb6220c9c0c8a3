"""Predictions of folders and lists: order, runners-up, abstention, damaged images, the CSV."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.recipes import RunFolder
from tailgrad.ship import Prediction, predict, save_pretrained, write_predictions


@pytest.fixture(params=["run", "artefact"])
def model(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def test_runners_up_are_in_order_and_decisions_may_be_abstained_from(model: Path, photos: Path) -> None:
    found = predict(model, [photos], top_k=2)
    for one in found:
        ranked = sorted(zip(one.probabilities, ("round", "square", "thin"), strict=True), reverse=True)
        assert [(p, name) for name, p in one.top] == ranked[:2]
        assert (one.name, one.probability) == one.top[0]
        assert not one.abstained
    middle = sorted(one.probability for one in found)[len(found) // 2]
    again = predict(model, [photos], abstain=middle, top_k=9)
    assert [one.abstained for one in again] == [one.probability < middle for one in found]
    assert {one.abstained for one in again} == {True, False}
    assert {len(one.top) for one in again} == {3}


def test_a_corrupt_image_is_named_and_the_rest_goes_on(model: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "thin", tmp_path / "new")
    (tmp_path / "new" / "03.png").write_bytes(b"\x89PNG no image")
    found = predict(model, [tmp_path / "new"], abstain=0.99)
    assert [Path(one.file).name for one in found if one.error] == ["03.png"]
    assert len(found) == 8
    path = write_predictions(tmp_path / "p.csv", found)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0]) == [
        "path",
        "predicted",
        "probability",
        "class_1",
        "probability_1",
        "abstained",
        "error",
    ]
    for row, one in zip(rows, found, strict=True):
        assert (row["path"], row["predicted"], row["error"]) == (one.file, one.name, one.error)
        assert row["abstained"] == ("" if one.error else "true" if one.abstained else "false")
        assert (
            not row["probability"]
            if one.error
            else float(row["probability"]) == pytest.approx(one.probability, abs=1e-6)
        )


def test_lists_name_images_beside_them(model: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "thin", tmp_path / "thin")
    (tmp_path / "new.csv").write_text("path,label\nthin/02.png,thin\n\nthin/00.png,thin\n", "utf-8-sig")
    found = predict(model, [tmp_path / "new.csv", photos / "round" / "00.png"])
    wanted = [tmp_path / "thin" / "02.png", tmp_path / "thin" / "00.png", photos / "round" / "00.png"]
    assert [one.file for one in found] == [str(path) for path in wanted]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na.png,b\n", "got 'file'"),
        ("path,weight\na.png,3\n", "must have the columns path, label, split and no other, got 'weight'"),
        ("label\nb\n", "must have one column path, got label"),
        ("path,path\na,b\n", "one column path"),
        ("", "got no header"),
        ("path\na.png\n", "line 2 of list.csv must name an image file, got 'a.png'"),
        ("path,label\na.png\n", "line 2 of list.csv must have 2 fields, got 1"),
        ('path\n"a', "must be a CSV in UTF-8"),
        ("path\n", "at least one image"),
    ],
)
def test_lists_that_do_not_fit_are_named(artefact: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        predict(artefact, [tmp_path / "list.csv"])


def test_places_and_numbers_that_do_not_fit_are_named(model: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one image"):
        predict(model, [tmp_path])
    with pytest.raises(InputError, match="which does not exist"):
        predict(model, [tmp_path / "nowhere"])
    with pytest.raises(InputError, match="top_k must be in"):
        predict(model, [photos], top_k=0)
    with pytest.raises(InputError, match="top_k must be a whole number, got 2.5"):
        predict(model, [photos], top_k=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="abstain must be in"):
        predict(model, [photos], abstain=1.5)
    with pytest.raises(InputError, match="did you mean 'thin'"):
        predict(model, [photos / "thin"], target_prior="round=0.5,square=0.3,thim=0.2")


def test_models_that_do_not_exist_are_named(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(InputError, match="must be a readable file"):
        predict(tmp_path / "none.onnx", [photos])
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="without its hash"):
        predict(tmp_path / "text.onnx", [photos])
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="no ordinary file"):
        predict(tmp_path / "folder.onnx", [photos])
    with pytest.raises(InputError, match="must be the folder of a run"):
        predict(tmp_path, [photos])


def test_names_with_commas_and_quotes_survive_the_table(tmp_path: Path) -> None:
    odd = 'a,"b"\nc'
    made = Prediction(odd, odd, 0.25, (0.25, 0.75), top=((odd, 0.25), ("x", 0.75)), abstained=True)
    path = write_predictions(tmp_path / "p.csv", [made])
    with path.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["class_1"], row["class_2"], row["abstained"]) == (odd, odd, "x", "true")


@pytest.mark.parametrize(
    "name", ["a b,c.png", "a\u2028b.png", "a\x85b.png", "a\nb.png", 'a"b.png', "\u732b.png"]
)
def test_lists_name_files_of_any_name(artefact: Path, photos: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(photos / "thin" / "00.png", tmp_path / name)
    with (tmp_path / "l.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", "label"], [name, "thin"], [name, "thin"]])
    found = predict(artefact, tmp_path / "l.csv")
    assert [one.file for one in found] == [str(tmp_path / name)] * 2
    assert not any(one.error for one in found)


def test_a_line_of_a_list_is_counted_as_an_editor_does(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path\n\n\u2028.png\n", "utf-8")
    with pytest.raises(InputError, match=r"line 3 of l\.csv must name an image file, got"):
        predict(artefact, tmp_path / "l.csv")


def test_one_path_need_not_be_in_a_list(model: Path, photos: Path) -> None:
    place = photos / "thin" / "00.png"
    assert predict(model, place) == predict(model, str(place)) == predict(model, [place])


@pytest.fixture(scope="module")
def odd_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Turned, grey, transparent, with a palette, of 16 bits, of one pixel, no image at all."""
    folder = tmp_path_factory.mktemp("odd \u00fc")
    random = np.random.default_rng(3)
    image = Image.fromarray(random.integers(0, 255, (70, 50, 3), np.uint8))
    turned = Image.Exif()
    turned[274] = 6
    image.save(folder / "turned.jpg", exif=turned)
    for mode, name in {"L": "a.png", "P": "b.gif", "RGBA": "c.png", "CMYK": "d.jpg", "RGB": "e.webp"}.items():
        image.convert(mode).save(folder / name)
    Image.fromarray(random.integers(0, 65535, (40, 40), np.uint16)).save(folder / "deep.png")
    image.resize((1, 1)).save(folder / "one.png")
    image.resize((900, 3)).save(folder / "wide.PNG")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize("wish", [{}, {"target_prior": "train", "abstain": 0.4, "top_k": 9}])
def test_a_run_its_file_and_its_folder_say_the_same_of_odd_pictures(
    run: Path, artefact: Path, odd_pictures: Path, tmp_path: Path, wish: dict[str, Any]
) -> None:
    images = [odd_pictures, odd_pictures / "empty.jpg", odd_pictures / "turned.jpg"]
    wanted = predict(run, images, **wish)
    assert [Path(one.file).name for one in wanted if one.error] == ["empty.jpg", "empty.jpg"]
    again = predict(save_pretrained(run, tmp_path / "hf"), images, **wish)
    assert [one for one in again if not one.error] == [one for one in wanted if not one.error]
    for one, other in zip(predict(artefact, images, **wish), wanted, strict=True):
        assert (one.file, one.name, one.error, one.abstained) == (
            other.file,
            other.name,
            other.error,
            other.abstained,
        )
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert [name for name, _ in one.top] == [name for name, _ in other.top]


def test_the_columns_do_not_hang_on_what_can_be_read(tmp_path: Path) -> None:
    text = write_predictions(
        tmp_path / "p.csv", [Prediction("a.png", "", float("nan"), (), "empty")]
    ).read_text()
    assert text == "path,predicted,probability,class_1,probability_1,abstained,error\na.png,,,,,,empty\n"
    assert write_predictions(tmp_path / "n.csv", []).read_text() == text.splitlines()[0] + "\n"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda result: result["classes"]["names"].reverse(),
        lambda result: result["classes"]["names"].pop(),
        lambda result: result["classes"].update(names=["a", "b", "c"]),
        lambda result: result["classes"].update(counts=[0, 0, 0]),
        lambda result: result["classes"].update(counts=["a", "b", "c"]),
        lambda result: result["prior"]["prior"].pop(),
        lambda result: result["prior"].update(prior=["a", "b", "c"]),
        lambda result: result.update(prior=[1]),
    ],
)
def test_a_result_of_another_network_is_refused(
    run: Path, photos: Path, altered: Callable[..., Path], spoil: Callable[[Any], Any]
) -> None:
    result = RunFolder(run).result()
    spoil(result)
    with pytest.raises(InputError, match=r"result\.json must hold what tailgrad writes"):
        predict(altered(**result), photos / "thin" / "00.png", target_prior="train")
