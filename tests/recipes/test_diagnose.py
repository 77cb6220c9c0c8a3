"""Diagnosis of each part against a measurement by hand, and of networks without training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tailgrad.checks import InputError
from tailgrad.interference import Interference, measure
from tailgrad.recipes import RunFolder, diagnose
from tailgrad.recipes.compose import merge
from tailgrad.recipes.diagnose import settle_batch_norm
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.restore import restore

TINY: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet32"},
    "interference": {"max_per_class": 2},
}


def by_hand(run: Any, photos: Path, parts: tuple[str, ...], most: int | None) -> Interference:
    """Measure the restored network on every image of some parts, read with Pillow alone."""
    network = restore(run.folder)
    ready = prepare(RunFolder(run.folder).config())
    index = np.concatenate([ready.index(part) for part in parts])
    pixels = np.stack([np.asarray(Image.open(photos / ready.name(i))) for i in index])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    target = torch.tensor([network.names.index(ready.name(i).split("/")[0]) for i in index])
    data = [(network.normalize(images), target)]
    return measure(network.model, data, max_per_class=most, class_names=network.names)


@pytest.mark.parametrize(
    ("part", "parts"),
    [("train", ("train",)), ("val", ("val",)), ("test", ("test",)), ("heldout", ("val", "test"))],
)
def test_each_part_agrees_with_a_measurement_by_hand(
    run: Any, photos: Path, part: str, parts: tuple[str, ...]
) -> None:
    found = diagnose(run.folder, part=part, overrides={"interference": {"max_per_class": 1000}})
    wanted = by_hand(run, photos, parts, None)
    assert found.counts.tolist() == wanted.counts.tolist()
    assert found.class_names == wanted.class_names
    np.testing.assert_allclose(found.conflict, wanted.conflict, atol=2e-3)
    np.testing.assert_allclose(found.norms, wanted.norms, rtol=2e-3)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-3)


def test_parts_count_the_images_of_the_split(run: Any) -> None:
    counts = {part: diagnose(run.folder, part=part).counts for part in ("val", "test", "heldout")}
    config = RunFolder(run.folder).config()
    ready, most = prepare(config), config.interference.max_per_class
    for part in ("val", "test"):
        labels = ready.source.labels[ready.index(part)]
        assert counts[part].tolist() == np.minimum(np.bincount(labels, minlength=3), most).tolist()
    together = np.bincount(ready.source.labels[np.r_[ready.index("val"), ready.index("test")]], minlength=3)
    assert counts["heldout"].tolist() == np.minimum(together, most).tolist()


@pytest.mark.parametrize("parameters", ["head", "all"])
def test_groups_of_parameters_can_be_asked_for(run: Any, parameters: str) -> None:
    found = diagnose(run.folder, overrides={"interference": {"parameters": parameters}})
    assert found.primary == parameters
    np.testing.assert_array_equal(found.conflict, found.groups[parameters])


def test_squared_norms_of_backbone_and_head_add_up(run: Any) -> None:
    norms = {
        group: diagnose(run.folder, overrides={"interference": {"parameters": group}}).norms
        for group in ("backbone", "head", "all")
    }
    np.testing.assert_allclose(norms["backbone"] ** 2 + norms["head"] ** 2, norms["all"] ** 2, rtol=1e-3)


def test_a_saved_result_is_the_one_returned(run: Any, tmp_path: Path) -> None:
    found = diagnose(run.folder, part="val", out=tmp_path / "deep" / "found")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["found.json", "found.npz"]
    again = Interference.load(tmp_path / "deep" / "found")
    np.testing.assert_array_equal(again.conflict, found.conflict)
    np.testing.assert_array_equal(again.null, found.null)
    assert json.loads((tmp_path / "deep" / "found.json").read_text())


def test_diagnosis_leaves_the_run_as_it_was(run: Any) -> None:
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    diagnose(run.folder, part="test")
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_a_network_without_training_is_decided_by_the_seed(photos: Path) -> None:
    first, again = (diagnose(photos, overrides=TINY) for _ in range(2))
    np.testing.assert_array_equal(first.conflict, again.conflict)
    other = diagnose(photos, overrides=merge(TINY, {"seed": 5, "split_seed": 0}))
    assert not np.allclose(first.conflict, other.conflict, atol=1e-3)


def test_weights_of_a_run_diagnose_like_the_run(run: Any, photos: Path, quick: dict[str, Any]) -> None:
    config = RunFolder(run.folder).config()
    named = {"model": {"name": config.model.name}, "head": config.head.model_dump()}
    weights = run.folder / "checkpoint" / "weights.safetensors"
    of_file = diagnose(photos, weights=weights, overrides=merge(quick, named))
    of_run = diagnose(run.folder)
    np.testing.assert_allclose(of_file.conflict, of_run.conflict, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"part": "tets"}, "did you mean 'test'"),
        ({"model": "resnet32"}, "model and weights are for a source, got resnet32"),
        ({"weights": "w.safetensors"}, r"model and weights are for a source, got w\.safetensors"),
        ({"overrides": {"interference": {"parametrs": "head"}}}, "parametrs"),
        ({"overrides": {"interference": {"parameters": "no.such.layer"}}}, r"no\.such\.layer"),
    ],
)
def test_what_a_run_cannot_take_is_refused(run: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        diagnose(run.folder, **arguments)


def test_batch_norm_statistics_are_those_of_the_batches() -> None:
    norm = nn.BatchNorm1d(4, momentum=0.3)
    random = torch.Generator().manual_seed(0)
    batches = [(torch.randn(10, 4, generator=random) * 3 + 1, torch.zeros(10)) for _ in range(6)]
    assert settle_batch_norm(nn.Sequential(norm), batches, most=3)
    used = [inputs for inputs, _ in batches[:3]]
    wanted = torch.stack([inputs.mean(0) for inputs in used]).mean(0)
    torch.testing.assert_close(norm.running_mean, wanted)
    spread = torch.stack([inputs.var(0) for inputs in used]).mean(0)
    torch.testing.assert_close(norm.running_var, spread)
    assert norm.momentum == 0.3
    assert not norm.training


@pytest.mark.parametrize("most", [1, 4])
def test_settling_reads_no_more_batches_than_it_needs(most: int) -> None:
    taken: list[int] = []

    def batches() -> Any:
        for i in range(10):
            taken.append(i)
            yield torch.randn(5, 2), torch.zeros(5)

    weights = nn.Linear(2, 2)
    before = [p.clone() for p in weights.parameters()]
    settle_batch_norm(nn.Sequential(weights, nn.BatchNorm1d(2)), batches(), most=most)
    assert taken == list(range(most))
    assert all(torch.equal(a, b) for a, b in zip(before, weights.parameters(), strict=True))
