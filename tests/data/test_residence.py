"""Where decoded images live, by size, by wish, and by what the machine has."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data import residence
from tailgrad.data.residence import available_memory, choose_residence, device_free_bytes

GB = 10**9


def _choose(
    wanted: str, needed: float, *, limit: float = 4, gpu: float | None = None, free: float = 16
) -> str:
    return choose_residence(
        wanted,
        int(needed * GB),
        memory_limit_bytes=limit * GB,
        device_free_bytes=None if gpu is None else int(gpu * GB),
        available_bytes=int(free * GB),
    )


@pytest.mark.parametrize(
    ("needed", "room", "where"),
    [
        (0.2, {}, "memory"),
        (4.0, {}, "memory"),
        (4.1, {}, "stream"),
        (3.0, {"free": 6}, "memory"),
        (3.1, {"free": 6}, "stream"),
        (0.2, {"limit": 0}, "stream"),
        (0.2, {"limit": 0, "gpu": 80}, "stream"),
        (0.2, {"gpu": 80}, "device"),
        (32.0, {"gpu": 80}, "device"),
        (32.1, {"gpu": 80}, "stream"),
        (3.3, {"gpu": 8}, "memory"),
        (3.3, {"gpu": 0}, "memory"),
        (0.0, {}, "memory"),
    ],
)
def test_auto_goes_by_size(needed: float, room: dict[str, float], where: str) -> None:
    assert _choose("auto", needed, **room) == where


@given(st.integers(0, 200), st.integers(0, 50), st.none() | st.integers(0, 150), st.integers(0, 100))
def test_auto_never_asks_for_more_than_there_is(needed: int, limit: int, gpu: int | None, free: int) -> None:
    where = _choose("auto", needed, limit=limit, gpu=gpu, free=free)
    assert where != "device" or (gpu is not None and needed <= gpu)
    assert where != "memory" or needed <= min(limit, free)
    assert where == "stream" or _choose(where, needed, limit=limit, gpu=gpu, free=free) == where
    if needed > 1:  # less data never moves further away
        nearness = ["device", "memory", "stream"].index
        smaller = _choose("auto", needed / 2, limit=limit, gpu=gpu, free=free)
        assert nearness(smaller) <= nearness(where)


@pytest.mark.parametrize(
    ("wanted", "room"), [("device", {"gpu": 11}), ("memory", {"limit": 1}), ("stream", {})]
)
def test_a_wish_that_can_be_met_is_met(wanted: str, room: dict[str, float]) -> None:
    assert _choose(wanted, 10, **room) == wanted


@pytest.mark.parametrize(
    ("wanted", "room", "words"),
    [
        ("device", {}, "where no GPU trains, got device; set data.resident=auto"),
        ("device", {"gpu": 8}, "got 12 GB for 8.00 GB of free memory of the GPU; set data.resident=auto"),
        ("memory", {"free": 9}, "got 12 GB for 9.00 GB of free memory of the machine; set"),
        ("gpu", {}, "data.resident must be a known name, got 'gpu'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wanted: str, room: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _choose(wanted, 12, **room)


@pytest.mark.parametrize(
    ("wanted", "needed", "gpu", "text"),
    [
        ("auto", 1, None, "(1.00 GB) live in memory: within data.resident_gb=4 and half of what is free"),
        ("auto", 1, 80, "(1.00 GB) live on the GPU: at most 40% of its free 80 GB"),
        ("auto", 9, None, "(9.00 GB) are decoded while training: more than data.resident_gb=4"),
        ("stream", 1, 80, "(1.00 GB) are decoded while training: as data.resident asks"),
    ],
)
def test_the_choice_is_said_with_its_reason(wanted: str, needed: int, gpu: int | None, text: str) -> None:
    said: list[str] = []
    free = None if gpu is None else gpu * GB
    choose_residence(
        wanted,
        needed * GB,
        memory_limit_bytes=4e9,
        device_free_bytes=free,
        available_bytes=16 * GB,
        say=said.append,
    )
    assert said == [f"decoded images {text}"]


def test_available_memory_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(residence, "_CONTAINERS", ())
    rows = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    said = [int(row.split()[1]) * 1024 for row in rows if row.startswith("MemTotal:")]
    assert 0 < available_memory() <= (said[0] if said else 2**63)


@pytest.mark.parametrize(("limit", "used", "left"), [("1000000", "400000", 600_000), ("3", "400000", 0)])
def test_a_container_gives_no_more_than_its_limit(
    limit: str, used: str, left: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "max").write_text(f"{limit}\n")
    (tmp_path / "stat").write_text(f"file 77\nanon {used}\n")
    paths = str(tmp_path / "max"), str(tmp_path / "stat")
    monkeypatch.setattr(residence, "_CONTAINERS", ((*paths, "anon"),))
    assert available_memory() == left


def test_a_container_without_a_limit_gives_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "max").write_text("max\n")
    paths = str(tmp_path / "max"), str(tmp_path / "none")
    monkeypatch.setattr(residence, "_CONTAINERS", ((*paths, "anon"),))
    assert available_memory() > 10**6


def test_only_a_gpu_has_memory_of_its_own() -> None:
    assert device_free_bytes(torch.device("cpu")) is None
    if torch.cuda.is_available():
        assert 0 < (device_free_bytes(torch.device("cuda")) or 0) < 2**50
