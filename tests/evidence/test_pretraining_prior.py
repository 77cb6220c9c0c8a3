"""Pretraining on a long tail: which images, what stays frozen, and the gap."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.engine import load_weights
from tailgrad.evidence import Lab, reproduce
from tailgrad.evidence.analyses.pretraining_prior import _chosen, _halves, _with, counts_for_prior, gap
from tailgrad.evidence.study_file import read_study

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return reproduce("pretraining-prior", size="smoke", out=tmp_path_factory.mktemp("studies") / "prior")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    settings = read_study("pretraining-prior").at("smoke").settings
    return Lab(tmp_path_factory.mktemp("lab"), {"images": "digits-lt"}, {}, settings)


def test_both_tails_and_the_even_set_have_about_as_many_images() -> None:
    tail, reverse, even = (counts_for_prior([60] * 10, p, 20) for p in ("long_tail", "reversed", "even"))
    assert tail == reverse[::-1]
    assert tail[0] / tail[-1] == pytest.approx(20, abs=10)
    assert len(set(even)) == 1
    assert abs(sum(even) - sum(tail)) < 10
    with pytest.raises(InputError, match="after must be"):
        counts_for_prior([60] * 10, "flat", 20)


def test_no_image_is_in_both_halves_and_both_keep_the_test_part(lab: Lab) -> None:
    halves = _halves(lab, 0)
    first, second = (
        _with(halves, _chosen(half, prior, 20))
        for half, prior in ((halves.first, "long_tail"), (halves.second, "reversed"))
    )
    assert not np.intersect1d(first.index("train"), second.index("train")).size
    assert not np.intersect1d(first.index("train"), first.index("test")).size
    for ready in (first, second):
        labels = ready.source.labels[ready.index("train")]
        assert tuple(np.bincount(labels, minlength=10)) == ready.classes.counts
        assert (ready.index("test") == halves.whole.index("test")).all()
    assert first.classes.counts[0] > 5 * first.classes.counts[-1]
    assert second.classes.counts[-1] > 5 * second.classes.counts[0]


def test_images_and_labels_stay_together(lab: Lab) -> None:
    halves = _halves(lab, 1)
    ready = _with(halves, _chosen(halves.first, "even", 20))
    assert halves.whole.images is not None
    assert ready.images is not None
    place = {int(i): n for n, i in enumerate(halves.whole.index("train"))}
    for n, i in enumerate(ready.index("train")[:20]):
        assert torch.equal(ready.images["train"][n], halves.whole.images["train"][place[int(i)]])


def test_the_gap_is_rare_less_frequent() -> None:
    run = {"recall": [0.9, 0.7, 0.5, 0.4, 0.2, 0.3], "former": [60, 50, 40, 30, 20, 10]}
    assert gap(run) == pytest.approx(0.25 - 0.8)


def test_a_probe_leaves_the_backbone_as_pretrained_and_draws_a_new_head(done: Any) -> None:
    folder = done.folder / "analysis"
    before = load_weights(folder / "pretrained" / "long_tail.seed0" / "weights.safetensors")[0]
    probe = load_weights(folder / "adapted" / "long_tail.even.probe.seed0" / "weights.safetensors")[0]
    kept = load_weights(folder / "adapted" / "long_tail.even.keep.seed0" / "weights.safetensors")[0]
    backbone = [name for name in before if name.startswith("backbone.")]
    assert all(torch.equal(before[name], probe[name]) for name in backbone)
    assert not all(torch.equal(before[name], kept[name]) for name in backbone)
    assert not torch.equal(before["head.weight"], probe["head.weight"])
    near, far = ((each["head.weight"] - before["head.weight"]).norm() for each in (kept, probe))
    assert near < far


def test_figures_follow_from_cells(done: Any) -> None:
    lab = Lab(done.folder / "analysis", {"images": "digits-lt"}, {}, done.content["settings"])
    changed, even = (
        [gap(lab.cell(f"adapt.{before}.even.keep.seed{seed}", dict)) for seed in (0, 1)]
        for before in ("long_tail", "even")
    )
    expected = np.subtract(changed, even).tolist()
    assert done.content["figures"]["even.keep.gap_change"]["values"] == pytest.approx(expected)
    assert done.content["seeds"] == [0, 1]


def test_it_goes_on_where_it_was(done: Any, tmp_path: Path) -> None:
    again = reproduce("pretraining-prior", size="smoke", out=done.folder, resume=True)
    assert again.content["figures"] == done.content["figures"]
