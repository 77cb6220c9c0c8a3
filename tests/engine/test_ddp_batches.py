"""Parts of batches, BatchNorm over ranks on one, and what is shared only inside ``together``."""

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from tailgrad.checks import InputError
from tailgrad.data.batch_order import BatchOrder
from tailgrad.distributed import first_does, together
from tailgrad.files import guarded, write_text
from tailgrad.models.joint_norm import JointBatchNorm, join_batch_norms


def _order(examples: int, batch_size: int, seed: int | None) -> BatchOrder:
    return BatchOrder(torch.zeros(examples).long(), torch.arange(examples), batch_size, seed)


@given(st.integers(1, 4), st.integers(4, 9), st.integers(4, 60), st.integers(0, 3))
def test_parts_put_together_are_the_batches_of_one(world: int, batch: int, examples: int, skip: int) -> None:
    parts = [_order(examples, batch, 0).share(rank, world).begin_at(skip).places() for rank in range(world)]
    joined = len(_order(examples, batch, 0)) - len(_order(examples, batch, 0).share(0, world))
    assume(not (skip and joined))  # where a rest joined the batch before, batches have other numbers
    whole = _order(examples, batch, 0).begin_at(skip).places()
    together = [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
    assert torch.equal(torch.cat([*together, torch.empty(0)]), torch.cat([*whole, torch.empty(0)]))
    sizes = [[len(piece) for piece in pieces] for pieces in zip(*parts, strict=True)]
    assert all(min(each) >= 1 and max(each) - min(each) <= 1 for each in sizes)
    if world <= 2:
        assert [len(each) for each in together] == [len(each) for each in whole]


def test_whole_batches_are_dealt_out_where_nothing_is_learnt() -> None:
    parts = [_order(10, 3, None).share(rank, 2).places() for rank in (0, 1)]
    assert [[piece.tolist() for piece in part] for part in parts] == [
        [[0, 1, 2], [6, 7, 8]],
        [[3, 4, 5], [9]],
    ]


def test_a_batch_smaller_than_the_number_of_processes_is_refused() -> None:
    with pytest.raises(InputError, match="at least the number of processes 4, got 3"):
        _order(10, 3, 0).share(0, 4)


def test_on_one_process_it_is_batch_norm_bit_for_bit() -> None:
    torch.manual_seed(0)
    plain, joint = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    join_batch_norms(joint)
    for _ in range(2):
        x = torch.randn(4, 3, 5, 5)
        assert torch.equal(plain(x), joint(x))
    assert isinstance(joint, JointBatchNorm)
    for one, two in zip(plain.state_dict().values(), joint.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_a_batch_norm_of_another_kind_is_refused() -> None:
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(InputError, match="Own, got it as 'norm'"):
        join_batch_norms(nn.ModuleDict({"norm": Own(2)}))


def test_timm_normalises_and_activates_as_before() -> None:
    timm_norm = pytest.importorskip("timm.layers").BatchNormAct2d(3)
    x = torch.randn(4, 3, 5, 5)
    before = timm_norm.eval()(x)
    join_batch_norms(timm_norm)
    assert torch.equal(timm_norm(x), before)


def test_a_guard_decides_who_writes(tmp_path: Path) -> None:
    with guarded(lambda _: None):
        write_text(tmp_path / "a.txt", "a")
    with together():
        first_does(lambda: write_text(tmp_path / "b.txt", "b"))
    assert [p.name for p in tmp_path.iterdir()] == ["b.txt"]
