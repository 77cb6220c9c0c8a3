"""A recipe written for a data set: what it says of the data, and that it is one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.recipes import compose, new_recipe
from tailgrad.recipes.configure import configure

COUNTS = {"common": 20, "rare": 5}


def draw(root: Path, counts: Mapping[str, int] = COUNTS, side: int = 24) -> Path:
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(
                root / name / f"{i}.png"
            )
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw(tmp_path / "photos")


def content(text: str) -> Any:
    return yaml.safe_load(text)


def test_it_is_what_the_configuration_becomes(photos: Path, tmp_path: Path) -> None:
    made = new_recipe(photos, tmp_path / "photos.yaml")
    config, _ = configure(str(photos), str(made.path))
    for setting in made.settings:
        section, _, key = setting.key.rpartition(".")
        found = config.model_dump()
        assert (found[section] if section else found)[key] == setting.value, setting.key


def test_every_value_has_a_reason_above_it(photos: Path, tmp_path: Path) -> None:
    made = new_recipe(photos, tmp_path / "photos.yaml")
    lines = made.text.splitlines()
    for place, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#") and not line.endswith(":"):
            assert lines[place - 1].lstrip().startswith("# "), line
    assert all(setting.why for setting in made.settings)


def test_it_counts_classes_and_copies(photos: Path, tmp_path: Path) -> None:
    (photos / "common" / "copy.png").write_bytes((photos / "common" / "3.png").read_bytes())
    text = new_recipe(photos, tmp_path / "photos.yaml").text
    assert "26 images, 2 classes, imbalance factor 4.2" in text, "21 and 5"
    assert "       21  common" in text
    assert "2 files in 1 group are copies and near copies" in " ".join(text.replace("#", " ").split())


@pytest.mark.parametrize(
    ("counts", "side", "wanted"),
    [
        ({"a": 6, "b": 6}, 24, {"method": "ce", "regime": "small-12", "monitor": "accuracy"}),
        ({"a": 18, "b": 6}, 24, {"method": "balanced_softmax", "regime": "small-12", "monitor": "macro_f1"}),
        ({"a": 6, "b": 6}, 130, {"method": "ce", "regime": "folder", "size": 128}),
        ({f"c{k}": 3 for k in range(21)}, 24, {"max_per_class": 50}),
    ],
)
def test_values_follow_the_data(
    tmp_path: Path, counts: dict[str, int], side: int, wanted: dict[str, Any]
) -> None:
    made = new_recipe(draw(tmp_path / "photos", counts, side), tmp_path / "new.yaml", near=False)
    found = {setting.key.rpartition(".")[2]: setting.value for setting in made.settings}
    assert {key: found[key] for key in wanted} == wanted


def test_a_benchmark_keeps_the_regime_that_is_made_for_it(tmp_path: Path) -> None:
    found = content(new_recipe("digits-lt", tmp_path / "d.yaml", near=False).text)
    assert (found["regime"], found["method"]) == ("digits", "balanced_softmax")
    assert (
        compose("digits-lt", "digits", "ce").data.val
        == configure("digits-lt", str(tmp_path / "d.yaml"))[0].data.val
    )


def test_what_is_given_is_written_as_given(photos: Path, tmp_path: Path) -> None:
    above = {"focus": "rare", "optim": {"lr": 0.01}, "data": {"val": 0.25}}
    found = content(new_recipe(photos, tmp_path / "new.yaml", overrides=above).text)
    assert (found["focus"], found["optim"], found["data"]["val"]) == ("rare", {"lr": 0.01}, 0.25)


@pytest.mark.parametrize("overrides", [{"focus": "nobody"}, {"train": {"monitor": "nothing"}}])
def test_nothing_is_left_of_a_recipe_that_train_would_refuse(
    photos: Path, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        new_recipe(photos, tmp_path / "new.yaml", overrides=overrides)
    assert not (tmp_path / "new.yaml").exists()


def test_an_unreadable_file_is_passed_over(photos: Path, tmp_path: Path) -> None:
    (photos / "rare" / "broken.png").write_bytes(b"no image")
    found = content(new_recipe(photos, tmp_path / "new.yaml").text)
    assert found["data"]["skip_unreadable"] is True


def test_a_file_that_exists_is_kept(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("mine: 1\n")
    with pytest.raises(InputError, match="out must be a new file, got .*; choose another, or add --force"):
        new_recipe(photos, tmp_path / "new.yaml")
    assert (tmp_path / "new.yaml").read_text() == "mine: 1\n"
    assert new_recipe(photos, tmp_path / "new.yaml", force=True).path.read_text() != "mine: 1\n"
    with pytest.raises(InputError, match=r"out must end in .yaml, got .*; name it new.yaml"):
        new_recipe(photos, tmp_path / "new.txt")


def test_a_refusal_keeps_the_file_that_force_would_write_over(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("mine: 1\n")
    with pytest.raises(InputError, match="must be one that train takes, got: focus must be a known name"):
        new_recipe(photos, tmp_path / "new.yaml", overrides={"focus": "nobody"}, near=False, force=True)
    assert (tmp_path / "new.yaml").read_text() == "mine: 1\n"


def test_names_of_classes_cannot_leave_their_comment(tmp_path: Path) -> None:
    source = draw(tmp_path / "photos", {"a\nmethod: csba": 4, "b: [": 12})
    found = content(new_recipe(source, tmp_path / "new.yaml", near=False).text)
    assert found["method"] == "balanced_softmax"
