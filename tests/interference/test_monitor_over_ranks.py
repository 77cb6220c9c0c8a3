"""Two processes with half a batch each measure what one process measures on the whole batch."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tailgrad.checks import InputError
from tailgrad.interference import measurement
from tailgrad.interference.monitor import Monitor

pytestmark = pytest.mark.long

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 0, 3, 0, 3, 1, 1, 1, 0, 0, 3, 0])


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.mix, self.head = nn.LSTM(1, 6, batch_first=True), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.rnn(x[:, :, None])[0][:, -1]).tanh())


def _records(part: slice, *, spread: bool) -> tuple[list[dict[str, Any]], list[torch.Tensor]]:
    net: nn.Module = _Net()
    model = DistributedDataParallel(net) if spread else net
    monitor = Monitor(model, 4, every=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    for _ in range(3):
        with monitor.watch(Y[part]):
            optimizer.zero_grad()
            F.cross_entropy(model(X[part]), Y[part]).backward()
            optimizer.step()
    return monitor.records, [p.detach() for p in net.parameters()]


def _worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    part = slice(0, 6) if rank == 0 else slice(6, 12)
    exact, _ = _records(part, spread=True)
    measurement.MAX_BYTES = 100
    sketched, _ = _records(part, spread=True)
    try:
        Monitor(_Net(), 4, seconds=1).begin(Y[part])
        refused = ""
    except InputError as error:
        refused = str(error)
    torch.save((exact, sketched, refused), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in ("norm", "alignment", "product", "cross_entropy"):
        present = {name: value for name, value in found[key].items() if value is not None}
        assert present == pytest.approx(wanted[key], rel=1e-3, abs=1e-6), key
    assert found["count"] == wanted["count"]
    assert found["masked"] == wanted["masked"]
    assert found["mean_conflict"] == pytest.approx(wanted["mean_conflict"], rel=1e-3)
    for side in ("own", "others"):
        assert found["pull"][side] == pytest.approx(wanted["pull"][side], rel=1e-3)


def test_two_processes_measure_as_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first == second
    alone, _ = _records(slice(0, 12), spread=False)
    exact, sketched, refused = first
    assert [record["step"] for record in exact] == [record["step"] for record in alone] == [1, 3]
    for found, small, wanted in zip(exact, sketched, alone, strict=True):
        _same(found, wanted)
        _same(small, wanted)  # few enough parameters to fit into a sketch as they are
        assert found["sketch"] == small["sketch"] == 0
    assert refused.startswith("every must be used with several processes, got seconds=1")
