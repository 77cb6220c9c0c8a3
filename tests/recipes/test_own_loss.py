"""A loss of the user's own: settings, edits between two sittings, and what is said where it fails."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import FocalLoss
from tailgrad.recipes import compare, diagnose, train
from tailgrad.recipes.configure import as_overlay, own_losses
from tailgrad.recipes.own_loss import make_own, own_errors

TINY: dict[str, Any] = {
    "data": {"size": 16, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 16, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"enabled": False},
}


class Brier(nn.Module):
    def __init__(self, counts: list[int], scale: float = 1.0) -> None:
        super().__init__()
        self.counts, self.scale = counts, scale

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        wanted = F.one_hot(target, logits.shape[1])
        return self.scale * (logits.softmax(1) - wanted).square().sum(1).mean()


class Broken(Brier):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return logits @ target.float()  # shapes do not fit


class BrokenLater(Brier):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape[0] != 8:  # the trial's batch
            raise KeyError("tail")
        return super().forward(logits, target)


def brier_of(counts: list[int]) -> nn.Module:
    return Brier(counts, scale=3.0)


def _config(folder: Path) -> Any:
    return yaml.safe_load(next(folder.rglob("config.yaml")).read_text())


def test_settings_of_a_partial_are_in_the_configuration(photos: Path, tmp_path: Path) -> None:
    run = train(
        photos, method=partial(Brier, scale=0.5), regime="quick", overrides=TINY, out=tmp_path / "run"
    )
    loss = _config(run.folder)["loss"]
    assert loss["name"] == "own:Brier"
    assert loss["options"]["scale"] == 0.5
    assert set(loss["options"]) == {"scale", "source_sha256"}
    few = {"interference": {"max_per_class": 2, "folds": 0}}
    assert diagnose(run.folder, overrides=few).class_names == ("round", "square", "thin")


def test_what_makes_a_loss_is_named_and_told_apart() -> None:
    assert as_overlay(partial(FocalLoss, gamma=0.5)) == {
        "name": "focal",
        "loss": {"name": "focal", "options": {"gamma": 0.5}},
    }
    found: Any = as_overlay(brier_of)
    assert found["loss"]["name"] == "own:brier_of"
    assert set(own_losses(["ce", Brier, partial(FocalLoss, gamma=1.0), brier_of])) == {"Brier", "brier_of"}
    made: Any = make_own(partial(Brier, scale=2.0), [3, 1])
    assert (made.counts, made.scale) == ([3, 1], 2.0)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Brier([3, 1]), r"got a Brier that is made; give the class Brier, or functools.partial\(Brier"),
        (partial(Brier, [3, 1]), r"settings of a loss must be given by name, got \(\[3, 1\],\)"),
        (
            partial(Brier, scale=F.relu),
            "settings of a loss must be numbers, texts, lists or mappings, got a ",
        ),
        (dict, "method must be a name"),
    ],
)
def test_what_makes_no_loss_is_refused_with_the_remedy(method: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_overlay(method)


def test_an_edited_loss_is_not_taken_for_the_one_before(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(resume: bool) -> Any:
        mine = {"ce": "ce", "mine": Brier}
        return compare(
            photos, mine, seeds=1, regime="quick", overrides=TINY, out=tmp_path / "s", resume=resume
        )

    both(resume=False)
    before = both(resume=True).comparison["rows"]
    assert [row["method"] for row in before[:2]] == ["ce", "mine"]

    def edited(self: Brier, logits: Tensor, target: Tensor) -> Tensor:
        return self.scale * F.cross_entropy(logits, target)

    monkeypatch.setattr(Brier, "forward", edited)
    monkeypatch.setattr("inspect.getsource", _no_source)  # as at a prompt, where the class was typed anew
    with pytest.raises(
        InputError, match="the code of loss Brier must stay as the run in .*mine.split0.seed0 "
    ):
        both(resume=True)


def _no_source(item: object) -> str:
    raise OSError("source code not available")


@pytest.mark.parametrize("later", [False, True])
def test_a_failing_loss_is_named_with_its_line(photos: Path, tmp_path: Path, later: bool) -> None:
    kind, line, error = (
        (BrokenLater, 'raise KeyError("tail")', KeyError)
        if later
        else (Broken, "return logits @ target.float()", RuntimeError)
    )
    with pytest.raises(InputError) as found:
        compare(photos, ["ce", kind], seeds=1, regime="quick", overrides=TINY, out=tmp_path / "s")
    told = str(found.value)
    assert f"loss {kind.__name__} failed with {error.__name__}" in told
    number = next(
        i
        for i, text in enumerate(Path(__file__).read_text().splitlines(), 1)
        if text.strip().startswith(line)
    )
    assert f"{__file__}:{number}, in forward: {line}" in told
    assert isinstance(found.value.__cause__, error)
    assert (tmp_path / "s").exists() == later, "what fails at once fails before anything is trained"


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda _self, _z, _y: None, "got NoneType for logits"),
        (lambda _self, z, _y: z, r"got \(8, 3\) for logits \[8, 3\]"),
        (lambda _self, z, y: F.cross_entropy(z.detach(), y), "without a gradient"),
    ],
)
def test_what_is_no_loss_is_refused_before_training(forward: Any, words: str) -> None:
    kind = type("Odd", (Brier,), {"forward": forward})
    with pytest.raises(InputError, match=words):
        make_own(kind, [5, 3, 1])


def test_a_factory_must_give_a_module() -> None:
    with pytest.raises(InputError, match=r"loss list must be a torch\.nn\.Module .* got list"):
        make_own(list, [3, 1])  # type: ignore[arg-type]  # what it is to refuse


def test_the_trial_leaves_state_and_random_numbers_as_they_were() -> None:
    class Counting(Brier):
        seen = 0

        def forward(self, logits: Tensor, target: Tensor) -> Tensor:
            self.seen += 1
            return super().forward(logits, target) + 0 * torch.rand(())

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    made: Any = make_own(Counting, [3, 1])
    assert made.seen == 0
    assert torch.equal(torch.rand(2), expected)


def test_errors_that_are_not_of_the_loss_pass() -> None:
    with pytest.raises(ZeroDivisionError), own_errors(Brier):
        _ = 1 / np.int64(0).item()
