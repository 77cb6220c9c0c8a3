"""``all`` in place of names: what it stands for, what it leaves out, and what is said before it starts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.recipes import compare
from tailgrad.recipes.announce import work
from tailgrad.recipes.chosen_methods import choose
from tailgrad.recipes.compose import compose, named, overlay
from tailgrad.recipes.every_method import expanded
from tailgrad.recipes.talk import Talk

NET = {"model": {"name": "resnet8"}, "data": {"size": 16, "near_duplicates": False}}


def _chosen(names: list[Any], **overrides: Any) -> Any:
    return choose("digits-lt", names, None, {**NET, **overrides}, Talk(None))


def test_all_is_every_method_but_those_that_repeat_one() -> None:
    found = _chosen(["all"])
    assert set(found.overlays) | set(found.reasons) == set(named("methods"))
    assert next(iter(found.overlays)) == "baseline"
    assert found.reasons["class_weights"] == "it is the same as baseline"
    assert len(found.overlays) > 80


def test_a_kind_is_what_methods_act_on() -> None:
    names, brought = expanded(["ce", "all:sampler"])
    wanted = {name for name in named("methods") if "sampler" in overlay("methods", name).get("acts_on", "")}
    assert names[0] == "ce"
    assert set(names[1:]) == brought == wanted
    with pytest.raises(
        InputError, match="kind of methods must be a known name, got 'los'; did you mean 'loss'"
    ):
        expanded(["all:los"])


def test_what_was_named_stands_first_and_once() -> None:
    names, brought = expanded(["sam", "all", "csba"])
    assert names[0] == "sam"
    assert (names.count("sam"), names.count("csba")) == (1, 1)
    assert not brought & {"sam", "csba"}


def test_what_does_not_suit_is_left_out_with_the_reason_unless_it_was_named() -> None:
    watched: Any = {"interference": {"monitor_every": 5}}
    found = _chosen(["ce", "all:data"], **watched)
    assert "mixup" not in found.overlays
    assert "interference.monitor_every is for one class an image" in found.reasons["mixup"]
    with pytest.raises(InputError, match="method 'mixup' must suit the network and the data, got: interfer"):
        _chosen(["ce", "mixup", "all:data"], **watched)


def test_looking_changes_no_random_numbers() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _chosen(["all:posthoc"])
    assert torch.equal(torch.rand(3), expected)


def test_work_counts_passes_and_stages() -> None:
    plain, sharp, staged = (work(compose("x", "digits", name), 10) for name in ("ce", "sam", "crt"))
    assert sharp == 2 * plain
    epochs = [stage["epochs"] for stage in overlay("methods", "crt")["stages"]]
    assert staged == plain + sum(epochs)


def test_count_work_and_what_is_left_out_are_said_before_anything_trains(
    photos: Path, fast: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = {**fast, **NET, "train": {**fast["train"], "epochs": 1}}
    found = compare(photos, ["all:posthoc"], seeds=1, regime="quick", overrides=above, out=tmp_path / "s")
    said = capsys.readouterr().err
    methods = list(dict.fromkeys(row["method"] for row in found.comparison["rows"]))
    assert methods[0] == "baseline"
    assert len(methods) > 4
    assert said.index(f"{len(methods)} runs; ") < said.index("seed 0: test macro-F1")
    told = [line for line in said.splitlines() if line.startswith("left out: ")]
    assert len(methods) + len(told) == 1 + len(expanded(["ce", "all:posthoc"])[1])
