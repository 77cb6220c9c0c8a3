"""The SAM family over two processes steps as one does on both batches."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.optim import AsymmetricSAM
from tailgrad.optim.asymmetric_sam import VARIANTS

pytestmark = pytest.mark.long

X = torch.randn(9, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
Y = torch.tensor([0, 0, 3, 0, 3, 1, 1, 1, 0])
PARTS = {0: [slice(0, 2), slice(2, 3)], 1: [slice(3, 9)]}  # uneven; class 1 on one rank only


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 6), nn.Tanh())
        self.head = nn.Linear(6, 4)
        self.sometimes = nn.Parameter(torch.ones(6))
        self.never = nn.Parameter(torch.ones(2))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        logits: Tensor = self.head(features * self.sometimes if len(x) > 3 else features)
        return logits


def _trained(variant: str, parts: list[slice]) -> Tensor:
    net = _Net()
    base = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    optimizer = AsymmetricSAM(net, base, [9, 5, 2, 3], rho=0.2, variant=variant, options=_options(variant))
    for _ in range(3):
        optimizer.step(
            [lambda s=s: (F.cross_entropy(net(X[s]), Y[s], reduction="none"), Y[s]) for s in parts]
        )
    assert net.never.grad is None
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def _options(variant: str) -> dict[str, float]:
    return {"eta": 6} if variant == "imbsam" else {}


def _worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save({v: _trained(v, PARTS[rank]) for v in VARIANTS}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_step_as_one_does_on_all_examples(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for variant in VARIANTS:
        assert torch.equal(first[variant], second[variant]), variant
        alone = _trained(variant, PARTS[0] + PARTS[1])
        torch.testing.assert_close(first[variant], alone, rtol=1e-9, atol=1e-12, msg=variant)
