"""Options for several labels an image: what they set, what a user sees, and exits with status 2."""

import csv
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tailgrad.cli.options import labels_of

QUICK = [
    "train.epochs=1",
    "train.precision=float32",
    "train.channels_last=false",
    "interference.enabled=false",
]
KEYS = [word for key in [*QUICK, "data.near_duplicates=false"] for word in ("--set", key)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    rng, rows = np.random.default_rng(0), []
    for i in range(30):
        Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(folder / f"{i}.png")
        has = {"cat": i % 2, "dog": i % 3 == 0, "ghost": 0}
        rows.append({"path": f"{i}.png", "labels": "; ".join(n for n, h in has.items() if h)})
        rows[-1] |= {name: int(h) for name, h in has.items()}
    with (folder / "list.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "list.csv"


def test_options_become_keys_of_the_data() -> None:
    assert labels_of(None, None, None, None) == {}
    found = labels_of("labels", "|", None, "cat, dog")
    assert found == {
        "data": {"labels_column": "labels", "label_separator": "|", "drop_labels": ["cat", "dog"]}
    }


def test_a_list_is_trained_on_and_shown_label_by_label(cli: Any, photos: Path, tmp_path: Path) -> None:
    words = ["train", photos, "--labels-column", "labels", "--separator", ";", "--regime", "digits-multi"]
    done = cli(*words, *KEYS, "--out", tmp_path / "run", "--quiet")
    assert done.status == 0, done.err
    assert "threshold" in done.out
    assert "mean average precision" in done.out
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label-columns", "cat,dgo"], "did you mean 'dog'"),
        (["--label-columns", "cat,dog,ghost"], "--drop-labels ghost"),
        (["--label-columns", "cat,path"], "must hold 0 or 1"),
        (["--labels-column", "labels", "--method", "focal"], "loss.name must take several labels"),
        (["--labels-column", "labels", "--focus", "cat"], "focus is for one class an image"),
        (["--labels-column", "labels", "--label-columns", "cat"], "leave one out"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(
    cli: Any, photos: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    given = ["train", photos, *words, "--regime", "digits-multi", *KEYS, "--out", tmp_path / "run"]
    assert said in cli(*given, "--quiet").error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [["--labels-column", "labels"], ["--label-columns", "cat,dog"], ["--set", "data.labels_column=labels"]],
)
def test_an_audit_names_the_command_that_goes_on(cli: Any, photos: Path, words: list[str]) -> None:
    done = cli("audit", photos, *words, "--no-near")
    assert done.status == 0, done.err
    assert "30 images, 2 labels" in done.out
    assert f"tailgrad compare {photos} {' '.join(words)} --methods bce,asl" in done.out


def test_a_list_with_the_column_of_labels_forgotten_is_told_of_the_option(cli: Any, photos: Path) -> None:
    assert "--labels-column" in cli("audit", photos).error


def test_a_new_recipe_trains_as_it_stands(cli: Any, photos: Path, here: Path) -> None:
    made = cli("new", photos, "--labels-column", "labels", "--out", "labels.yaml")
    assert made.status == 0, made.err
    text = (here / "labels.yaml").read_text()
    assert "2 labels" in text
    assert "focus" not in yaml.safe_load(text)
    assert yaml.safe_load(text)["data"]["labels_column"] == "labels"
    command = made.out.splitlines()[-1].removeprefix("Now run: tailgrad ")
    done = cli(*shlex.split(command), *KEYS, "--set", "model.name=small_conv", "--out", "run", "--quiet")
    assert done.status == 0, done.err
    settled = yaml.safe_load((here / "run" / "config.yaml").read_text())
    assert (settled["method"], settled["train"]["monitor"]) == ("asl", "mean_average_precision")
