"""A disk that changes what was written: noticed, said, and survived where the state before is whole."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import (
    Learner,
    LossWatch,
    Plan,
    fit,
    last_progress,
    load_last,
    load_weights,
    save_last,
    save_weights,
    supervised_step,
)

pytestmark = pytest.mark.long


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)


def learner(value: float) -> Learner:
    torch.manual_seed(0)
    made = Learner.plain(nn.Linear(3, 2), nn.CrossEntropyLoss(), lr=0.1)
    nn.init.constant_(made.model.weight, value)  # type: ignore[arg-type]
    return made


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.manual_seed(0)
    written = nn.Linear(3, 2)
    whole = save_weights(path, written, {"classes": ["a", "b"], "epoch": 3}).read_bytes()
    noticed = 0
    bits = range(0, 8 * len(whole), 3)
    for bit in bits:
        path.write_bytes(whole)
        flip(path, bit)
        try:
            tensors, meta = load_weights(path)
        except InputError:
            noticed += 1
            continue
        # Some flips change nothing that is used: those in the names of the meta data and of the checksum.
        assert all(torch.equal(tensors[name], value) for name, value in written.state_dict().items())
        assert meta == {} or (meta["classes"], meta["epoch"]) == (["a", "b"], 3)
    assert noticed > 0.9 * len(bits)


def test_no_truncation_goes_unnoticed(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "w.safetensors", nn.Linear(3, 2), {"epoch": 3})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="weights must be a readable safetensors file"):
            load_weights(path)


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    meta = {"epoch": 3, "shares": (0.1, 1e-300, float("nan")), "names": ["ä", "\ud800"]}
    files = [save_weights(tmp_path / f"{i}.safetensors", learner(1.0).model, meta) for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_weights(files[0])[1]["names"] == ["ä", "\ud800"]


def test_a_damaged_last_state_gives_way_to_the_one_before(tmp_path: Path) -> None:
    path, said = tmp_path / "last.safetensors", list[str]()
    save_last(path, learner(1.0), {"epoch": 1})
    save_last(path, learner(2.0), {"epoch": 2})
    assert (last_progress(path, said.append), said) == ({"epoch": 2}, [])
    flip(path, 8 * path.stat().st_size - 5)
    assert last_progress(path, said.append) == {"epoch": 1}
    assert len(said) == 1
    assert "another checksum: a disk or a copy has damaged it" in said[0]
    assert "going on from last.previous.safetensors, to the same result" in said[0]
    found = learner(0.0)
    assert load_last(path, found) == {"epoch": 1}
    assert (found.model.weight == 1.0).all()  # type: ignore[operator, union-attr]
    # A kill between the two moves of the next save still finds the whole one.
    assert not path.exists()
    assert last_progress(path, said.append) == {"epoch": 1}
    assert len(said) == 1


def test_two_damaged_states_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    for epoch in (1, 2):
        save_last(path, learner(1.0), {"epoch": epoch})
    for damaged in tmp_path.iterdir():
        flip(damaged, 8 * damaged.stat().st_size - 5)
    with pytest.raises(
        InputError, match=rf"{path} with another checksum.* or remove {tmp_path} to train again"
    ):
        last_progress(path, print)


def test_weights_in_the_place_of_a_state_are_refused(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "last.safetensors", nn.Linear(3, 2), {"epoch": 1})
    with pytest.raises(InputError, match="checkpoint must hold the state of a training"):
        load_last(path, learner(1.0))


def test_a_run_whose_checkpoint_is_damaged_ends_the_same(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    killed = attempt(tmp_path, *training, event=["after .last.safetensors.partial", 8])
    assert killed.killed, killed.err
    last = tmp_path / "made" / "checkpoint" / "last.safetensors"
    flip(last, random.Random(0).randrange(8 * last.stat().st_size // 2, 8 * last.stat().st_size))
    ended = attempt(tmp_path, *training, "--resume")
    assert ended.status == 0, ended.err
    assert ended.err.count("going on from last.previous.safetensors, to the same result") == 1
    assert "going on after epoch 1, at batch 3 of the next" in ended.err
    whole, found = whole_training[1], contents(tmp_path / "made")
    assert [name for name in whole.keys() | found.keys() if found.get(name) != whole.get(name)] == []


@pytest.mark.parametrize(
    "progress",
    [
        *("x", None, [], {"epoch": "a"}, {"epoch": -5}, {"epoch": 0.5}, {"junk": 1}, {"held": []}),
        *({"held": {"LossWatch": 3}}, {"epoch": 1, "done": 1, "random": {"cpu": "x"}}),
    ],
    ids=repr,
)
def test_progress_of_another_kind_is_one_clear_error(tmp_path: Path, progress: Any) -> None:
    save_last(tmp_path / "last.safetensors", learner(1.0), progress)
    images = torch.zeros(4, 3, dtype=torch.uint8)
    loader = ResidentLoader(images, torch.zeros(4).long(), torch.arange(4), batch_size=2, seed=0)
    plan = Plan(epochs=3, keep=tmp_path, monitor="val_loss")
    with pytest.raises(InputError, match=r"last.safetensors must hold what tailgrad writes|must be"):
        fit(learner(0.0), loader, lambda: {"val_loss": 1.0}, plan, step=supervised_step, watch=LossWatch(str))
