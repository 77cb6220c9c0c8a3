"""A network comes back as it was, or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tailgrad.checks import InputError
from tailgrad.recipes.restore import check_classes, load_state, restore


@pytest.fixture
def copy(run: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "copy"))


def weights_of(folder: Path) -> Path:
    return folder / "checkpoint" / "weights.safetensors"


def test_every_tensor_is_the_file_s(run: Any) -> None:
    found = restore(run.folder)
    stored = load_file(weights_of(run.folder))
    state = found.model.state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)
    assert not any(module.training for module in found.model.modules())


def test_names_size_and_normalisation_are_those_of_training(run: Any, photos: Path) -> None:
    found = restore(run.folder)
    assert found.names == tuple(run.result["classes"]["names"]) == tuple(sorted(found.names))
    assert found.size == (48, 48)
    paths = sorted(photos.glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths]) / 255
    # Nearly three quarters of the images are for training: their means are close to those of all.
    assert found.normalize.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=0.03)
    assert found.normalize.std == pytest.approx(pixels.std((0, 1, 2)), abs=0.03)


def test_two_restorations_agree_and_are_apart(run: Any) -> None:
    first, second = restore(run.folder), restore(str(run.folder))
    images = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(first.model(images), second.model(images))
        next(first.model.parameters()).zero_()
        assert not torch.equal(first.model(images), second.model(images))


def test_weights_without_names_are_refused(copy: Path) -> None:
    save_file(load_file(weights_of(copy)), weights_of(copy))
    with pytest.raises(InputError, match="without class names"):
        restore(copy)


@pytest.mark.parametrize("missing", ["config.yaml", "checkpoint/weights.safetensors"])
def test_missing_files_are_named(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(InputError, match=missing.rpartition("/")[2].replace(".", r"\.")):
        restore(copy)


def test_truncated_weights_are_refused(copy: Path) -> None:
    content = weights_of(copy).read_bytes()
    weights_of(copy).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="safetensors"):
        restore(copy)


@pytest.mark.parametrize("change", ["drop", "add", "reshape"])
def test_tensors_of_another_network_are_refused(copy: Path, change: str) -> None:
    with safe_open(weights_of(copy), "pt") as file:
        told = json.loads(file.metadata()["tailgrad"])
    del told["crc32"]  # as of a stranger, who writes none
    tensors = load_file(weights_of(copy))
    name = next(name for name in tensors if name.endswith("conv.weight"))
    if change == "drop":
        del tensors[name]
    elif change == "add":
        tensors["stranger"] = torch.zeros(1)
    else:
        tensors[name] = torch.zeros(*tensors[name].shape, 2)
    save_file(tensors, weights_of(copy), {"tailgrad": json.dumps(told)})
    with pytest.raises(InputError, match="weights must fit the network") as caught:
        restore(copy)
    assert ("stranger" if change == "add" else name) in str(caught.value)


def test_state_is_loaded_in_full_or_refused() -> None:
    network = nn.Linear(3, 2)
    wanted = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, -1.0])}
    load_state(network, wanted, "w.safetensors")
    assert torch.equal(network(torch.tensor([[1.0, 0.0, 2.0]])), torch.tensor([[5.0, 12.0]]))
    with pytest.raises(InputError, match=r"got w\.safetensors: .*size mismatch for weight"):
        load_state(nn.Linear(4, 2), wanted, "w.safetensors")


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (["a", "b"], ("b", "a"), "only in the checkpoint: none; only in the data: none"),
        (["a", "b"], ("a",), r"only in the checkpoint: \['b'\]; only in the data: none"),
        (["a"], ("a", "b"), r"only in the checkpoint: none; only in the data: \['b'\]"),
        ([f"x{i}" for i in range(9)], ("y",), r"got 9 in w and 1 .*'x4'\]; only in the data: \['y'\]"),
    ],
)
def test_other_classes_are_told_apart(before: list[str], now: tuple[str, ...], words: str) -> None:
    check_classes(now, now, "w")
    with pytest.raises(InputError, match=words):
        check_classes(before, now, "w")
