"""The bottom files: argument checks, shared values, sums over ranks."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError, in_range, nearest, one_of, positive_counts
from tailgrad.distributed import is_spread, sum_over_ranks
from tailgrad.types import Batch, ClassInfo

NAMES = ["baseline", "csba", "class_heads", "branch_softmax"]


@given(st.sampled_from(NAMES), st.integers(0, 100))
def test_a_name_with_two_letters_swapped_is_suggested(name: str, place: int) -> None:
    i = place % (len(name) - 1)
    typo = name[:i] + name[i + 1] + name[i] + name[i + 2 :]
    if typo in NAMES:
        assert one_of("x", typo, NAMES) == typo
    else:
        with pytest.raises(InputError, match=rf"got '{typo}'; did you mean '{name}'\?"):
            one_of("x", typo, NAMES)


def test_long_lists_of_options_are_cut() -> None:
    hint = nearest("zzz", [f"name{i}" for i in range(50)])
    assert hint.startswith("choose from name0, name1")
    assert hint.endswith("name19, ...")


@given(st.floats(allow_nan=True), st.floats(-10, 10), st.floats(0, 10))
def test_in_range_accepts_exactly_the_interval(value: float, low: float, width: float) -> None:
    inside = math.isfinite(value) and low <= value <= low + width
    if inside:
        assert in_range("x", value, low, low + width) == value
    else:
        with pytest.raises(InputError, match="x must be in"):
            in_range("x", value, low, low + width)


def test_in_range_may_leave_its_ends_out() -> None:
    assert in_range("x", 0.5, 0, 1, exclusive=True) == 0.5
    for end in (0, 1):
        with pytest.raises(InputError, match=r"must be in \(0, 1\), got"):
            in_range("x", end, 0, 1, exclusive=True)


@pytest.mark.parametrize("bad", [[1, 0], [1, -2], [1, math.nan], [1, math.inf], []])
def test_counts_must_be_positive(bad: list[Any]) -> None:
    with pytest.raises(InputError, match=r"counts must|counts\[1\]"):
        positive_counts(bad, "counts")


@pytest.mark.parametrize("bad", [[0.5, 10], [3, 2.5]])
def test_counts_must_be_whole(bad: list[Any]) -> None:
    with pytest.raises(InputError, match=r"n must be whole numbers, got n\[\d\]=[02]\.5; count"):
        positive_counts(bad, "n")


@pytest.mark.parametrize("given", [[3.0, 2], np.array([3, 2], np.int16), torch.tensor([3.0, 2.0])])
def test_whole_counts_of_every_kind_are_integers(given: Any) -> None:
    found = positive_counts(given)
    assert found == (3, 2)
    assert all(type(n) is int for n in found)


def test_class_info_keeps_names_and_counts_together() -> None:
    info = ClassInfo(("a", "b", "c"), (100, 0, 4))
    assert info.imbalance_factor == 25
    assert ClassInfo(("a",), (0,)).imbalance_factor == 1
    with pytest.raises(InputError, match="got 1 names and 2 counts"):
        ClassInfo(("a",), (1, 2))
    with pytest.raises(InputError, match=r"counts\[1\]=-1"):
        ClassInfo(("a", "b"), (1, -1))


def test_a_batch_is_as_long_as_its_target() -> None:
    views = torch.zeros(2, 5, 3, 4, 4)
    assert len(Batch(views, torch.zeros(5).long(), torch.arange(5))) == 5


def test_one_process_sums_to_itself() -> None:
    values = torch.tensor([1.0, 2.0])
    assert sum_over_ranks(values) is values
    assert not is_spread()


RANK = """
import os, sys, torch, torch.distributed as dist
from tailgrad.distributed import is_spread, sum_over_ranks
rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
values = torch.tensor([1.0, float(rank)])
assert is_spread()
print(sum_over_ranks(values).tolist(), values.tolist())
torch.optim.SGD([torch.nn.Parameter(values)], lr=1.0).step()  # imports what may keep the group
dist.destroy_process_group()
names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
assert not [name for name in names if "gloo" in name], names  # they may abort an interpreter that ends
"""


def test_two_ranks_get_the_same_sum_and_keep_their_own_values(tmp_path: Path) -> None:
    words = [[sys.executable, "-c", RANK, str(rank), str(tmp_path / "meet")] for rank in (0, 1)]
    ranks = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for line in words]
    said = [rank.communicate(timeout=100)[0].strip() for rank in ranks]
    assert said == ["[2.0, 1.0] [1.0, 0.0]", "[2.0, 1.0] [1.0, 1.0]"]
    assert [rank.returncode for rank in ranks] == [0, 0]
