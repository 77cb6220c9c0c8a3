"""A recipe from the command line trains as it stands, also from folders with difficult names."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml


def run_it(cli: Any, fast: list[str], command: str) -> Any:
    return cli(*shlex.split(command)[1:], *fast, "--out", "run")


def test_the_command_that_it_prints_trains_digits(cli: Any, fast: list[str], here: Path) -> None:
    made = cli("new", "digits-lt", "--no-near", "--set", "train.epochs=1", "--set", "data.imb_factor=50")
    assert made.status == 0, made.err
    assert made.out.splitlines()[-2] == "recipe: digits-lt.yaml"
    last = made.out.splitlines()[-1]
    assert last == "Now run: tailgrad train digits-lt --recipe digits-lt.yaml"
    options = [
        word for pair in zip(fast[::2], fast[1::2], strict=True) if "size" not in pair[1] for word in pair
    ]
    done = run_it(cli, options, last.removeprefix("Now run: "))
    assert done.status == 0, done.err
    settled = yaml.safe_load((here / "run" / "config.yaml").read_text())
    assert settled["method"] == "balanced_softmax"
    assert settled["train"]["epochs"] == 1
    assert settled["data"]["imb_factor"] == 50


@pytest.mark.parametrize("name", ["Größe ß 写真", "it's $HOME; rm"])
def test_difficult_folder_names(cli: Any, make_photos: Any, fast: list[str], here: Path, name: str) -> None:
    make_photos(here / name, {"round": 9, "thin": 4})
    made = cli("new", name, "--out", f"{name}.yaml", "--json")
    assert made.status == 0, made.err
    found = json.loads(made.out)
    assert found["recipe"] == f"{name}.yaml"
    assert found["audit"]["classes"] == {"round": 9, "thin": 4}
    done = run_it(cli, fast, found["command"])
    assert done.status == 0, done.err


def test_it_refuses_to_write_over_a_file(cli: Any, photos: Path, here: Path) -> None:
    assert cli("new", photos, "--no-near").status == 0
    before = (here / "photos.yaml").read_bytes()
    assert "add --force" in cli("new", photos, "--no-near").error
    assert (here / "photos.yaml").read_bytes() == before
    assert cli("new", photos, "--no-near", "--force", "--quiet").err == ""
