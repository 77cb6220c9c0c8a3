"""A run belongs to the data that it began with, and every image to one side."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tailgrad
from tailgrad.checks import InputError
from tailgrad.data import Profile, Source, open_source
from tailgrad.recipes import Config, compare, train
from tailgrad.recipes.compose import compose, merge
from tailgrad.recipes.prepare import images_tested, prepare
from tailgrad.report.folders import read_study

pytestmark = pytest.mark.long


@pytest.fixture
def growing(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "growing"))


def _add(folder: Path) -> None:
    for i in range(4):
        shutil.copy(folder / "thin" / f"{i:02d}.png", folder / "thin" / f"new{i}.png")


def test_a_run_is_not_resumed_on_other_data(growing: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    short = merge(fast, {"train": {"max_minutes": 1e-6}})
    train(growing, "quick", overrides=short, out=tmp_path / "run")
    before = (tmp_path / "run" / "split.json").read_bytes()
    _add(growing)
    with pytest.raises(InputError, match=r"the data must give the split that .* was started with"):
        train(growing, "quick", overrides=fast, out=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="the data must give the split"):
        tailgrad.diagnose(tmp_path / "run")
    assert (tmp_path / "run" / "split.json").read_bytes() == before


def test_a_study_does_not_grow_on_other_data(growing: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    compare(growing, ["ce"], seeds=1, regime="quick", overrides=fast, out=tmp_path / "s")
    _add(growing)
    with pytest.raises(InputError, match="methods must share their split"):
        compare(
            growing, ["ce", "csba"], seeds=1, regime="quick", overrides=fast, out=tmp_path / "s", resume=True
        )


def _given(parts: dict[str, int]) -> Source:
    random = np.random.default_rng(0)
    n = sum(parts.values())
    images = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    source = open_source((images, np.arange(n) % 2))
    given = tuple(part for part, count in parts.items() for _ in range(count))
    return Source(source.name, source.items, source.labels, source.class_names, given)


def _prepared(source: Source, data: dict[str, Any], groups: Any = None) -> Any:
    said: list[str] = []
    above = {"data": {"near_duplicates": False, **data}}
    return prepare(compose("python", "quick", "ce", above), source, said.append, groups), said


def test_a_profile_leaves_given_validation_and_test_parts_alone() -> None:
    source = _given({"train": 40, "val": 12, "test": 12})
    ready, _ = _prepared(source, {"imb_factor": 4})
    assert (len(ready.split.val), len(ready.split.test)) == (12, 12)
    assert ready.classes.counts == (20, 5)
    partly, _ = _prepared(_given({"train": 52, "val": 12}), {"imb_factor": 4})
    assert len(partly.split.val) == 12
    assert set(partly.source.given) == {"train", "val", "test"}


def test_copies_across_given_parts_are_said_and_left_out_on_request() -> None:
    source = _given({"train": 40, "test": 12})
    groups = np.arange(52)
    groups[41] = groups[3]
    groups[45] = groups[8]
    ready, said = _prepared(source, {}, groups)
    assert {3, 8} <= set(ready.split.train.tolist())
    assert any("2 pairs of copies" in line and "data.drop_leaks=true" in line for line in said)
    clean, said = _prepared(source, {"drop_leaks": True}, groups)
    assert not {3, 8} & set(clean.split.train.tolist())
    assert len(clean.split.test) == 12
    assert any(line.startswith("2 training images are left out") for line in said)
    assert sum(clean.classes.counts) == len(clean.split.train)


def test_measured_images_are_any_of_a_class_and_not_the_first() -> None:
    ready, _ = _prepared(_given({"train": 40, "val": 12, "test": 12}), {})
    order = torch.cat([batch.index for batch in ready.mixed(("val", "test"), 5)]).tolist()
    assert sorted(order) == list(range(40, 64))
    first = order[:12]
    assert {part for i in first for part in [ready.source.given[i]]} == {"val", "test"}
    assert order == torch.cat([batch.index for batch in ready.mixed(("val", "test"), 5)]).tolist()


def test_a_single_image_left_over_trains(tmp_path: Path, fast: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    above = merge(fast, {"model": {"name": "timm/resnet18"}, "data": {"size": 80}, "train": {"epochs": 1}})
    ready, _ = _prepared(open_source((images, np.arange(40) % 2)), {})
    above = merge(above, {"train": {"batch_size": len(ready.split.train) - 1}})
    source = (images, np.arange(40) % 2)
    assert train(source, regime="quick", overrides=above, out=tmp_path / "r").result["epochs"] == 1


def test_own_regimes_prepare_their_own_data(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    small = {"own_regime": True, "data": {"size": 48}}
    large = {"own_regime": True, "data": {"size": 64}}
    methods = {"small": small, "large": large}
    above = {**fast, "data": {"near_duplicates": False}}
    study = compare(photos, methods, seeds=1, regime="quick", overrides=above, out=tmp_path / "s")
    from tailgrad.recipes.restore import restore

    runs = {path.name.split(".")[2]: path for path in (study.folder / "runs").iterdir()}
    assert restore(runs["small"]).size == (48, 48)
    assert restore(runs["large"]).size == (64, 64)


def test_own_regimes_that_test_on_other_images_are_refused_before_training(
    photos: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    methods = {"few": {"own_regime": True}, "many": {"own_regime": True, "data": {"test": 0.4}}}
    with pytest.raises(InputError, match="methods must be tested on the same images, got others for many"):
        compare(photos, methods, seeds=1, regime="quick", overrides=fast, out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_images_tested_are_those_of_the_split(photos: Path) -> None:
    config = Config.model_validate({"source": str(photos), "seed": 3, "data": {"size": 8, "test": 0.3}})
    ready = prepare(config, say=lambda _: None)
    wanted = {ready.source.items.name(int(i)) for i in ready.split.test}
    assert images_tested(config, open_source(photos)) == wanted


class _Halved(nn.Module):
    made_with: list[int] | None = None

    def __init__(self, class_counts: list[int]) -> None:
        super().__init__()
        _Halved.made_with = class_counts

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 0.5 * nn.functional.cross_entropy(logits, target)


def test_a_loss_class_of_ones_own_is_a_method(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    methods = {"ce": "ce", "mine": _Halved}
    study = compare(photos, methods, seeds=1, regime="quick", overrides=fast, out=tmp_path / "s")
    assert [row["method"] for row in study.comparison["rows"][:2]] == ["ce", "mine"]
    counts = read_study(study.folder).runs["mine"][0].result["classes"]["counts"]
    assert _Halved.made_with == counts
    run = train(photos, method=_Halved, regime="quick", overrides=fast, out=tmp_path / "r")
    assert run.result["method"] == "_Halved"
    with pytest.raises(InputError, match="class of your own; give it again"):
        train(
            photos,
            method={"loss": {"name": "own:_Halved"}},
            regime="quick",
            overrides=fast,
            out=tmp_path / "q",
        )


def test_python_sources_are_diagnosed_when_given_again(fast: dict[str, Any], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    source = (random.integers(0, 256, (40, 48, 48, 3), dtype=np.uint8), np.arange(40) % 2)
    run = train(source, regime="quick", overrides=fast, out=tmp_path / "r")
    assert tailgrad.diagnose(run.folder, source=source).conflict.shape == (2, 2)
    with pytest.raises(InputError, match="source must be given"):
        tailgrad.diagnose(run.folder)
    with pytest.raises(InputError, match="the data must give the split"):
        tailgrad.diagnose(run.folder, source=(source[0][::-1].copy(), source[1]))


def test_a_missing_report_is_written_on_resume(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    run = train(photos, "quick", overrides=fast, out=tmp_path / "r")
    run.report.unlink()
    train(photos, "quick", overrides=fast, out=tmp_path / "r", resume=True)
    assert run.report.exists()


def test_a_folder_with_nothing_but_a_partial_file_is_new(
    photos: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".config.yaml.99.partial").write_text("ha")
    assert train(photos, "quick", overrides=fast, out=tmp_path / "r").result["status"] == "finished"


def test_a_stopped_run_takes_no_part_in_a_report(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    study = compare(photos, ["ce", "focal"], seeds=1, regime="quick", overrides=fast, out=tmp_path / "s")
    result = next((study.folder / "runs").glob("*focal*")) / "result.json"
    result.write_text(result.read_text().replace('"status": "finished"', '"status": "stopped"'))
    assert list(read_study(study.folder).runs) == ["ce"]


def test_profile_of_the_source_is_the_default() -> None:
    assert Profile("exponential", imb_factor=0.05).imb_factor == 20


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: compose("x", "quick", "ce", {"optim": {"nesterov": True, "momentum": 0}}),
            "nesterov=true needs",
        ),
        (lambda: compare("x", ["ce"], overrides={"source": "y"}), "keys of the regime only, got 'source'"),
        (lambda: tailgrad.measure(nn.Flatten(), [], max_per_class="5"), "must be a number, got '5'"),
    ],
)
def test_refusals(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_a_study_with_counts_of_ones_own(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    above = merge(fast, {"data": {"profile": "explicit", "counts": [12, 9, 6]}})
    study = compare(photos, ["ce", "csba"], seeds=1, regime="quick", overrides=above, out=tmp_path / "s")
    runs = read_study(study.folder).runs
    kept = [n - max(1, round(0.15 * n)) for n in (12, 9, 6)]  # what validation leaves of the counts asked for
    assert [runs[method][0].result["classes"]["counts"] for method in ("ce", "csba")] == [kept, kept]
