"""Class gradients of a step, on one process and merged over two."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.optim import ClassGradientOptimizer, PCGrad, UPGrad
from tailgrad.optim.class_rows import class_rows

pytestmark = pytest.mark.long

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 0, 3, 0, 3, 1, 1, 1])  # the halves share class 3 only
COMBINERS = (UPGrad, PCGrad)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))


def _trained(x: Tensor, y: Tensor, place: int, seed: int) -> Tensor:
    net = _net()
    torch.manual_seed(seed)  # what PCGrad draws from
    base = torch.optim.SGD(net.parameters(), lr=0.5)
    optimizer = ClassGradientOptimizer(net[0], base, COMBINERS[place]())
    for _ in range(3):
        optimizer.step(lambda: (F.cross_entropy(net(x), y, reduction="none"), y))
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def _worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    part = slice(0, 4) if rank == 0 else slice(4, 8)
    results = [_trained(X[part], Y[part], place, seed=11 + rank) for place in range(len(COMBINERS))]
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_step_as_one_does_on_both_batches(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for place in range(len(COMBINERS)):
        assert torch.equal(first[place], second[place])
        torch.testing.assert_close(first[place], _trained(X, Y, place, seed=11), rtol=1e-4, atol=1e-5)


def test_counts_losses_and_weights_belong_to_the_classes() -> None:
    w = torch.ones(2, requires_grad=True)
    losses = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [2.0, 0.0]]) @ w
    target = torch.tensor([4, 4, 9, 4])
    found = class_rows(losses, target, [w], retain_graph=True)
    assert found.classes.tolist() == [4, 9]
    assert found.counts.tolist() == [3, 1]
    assert found.losses.tolist() == [2, 5]
    for prior in ("uniform", "batch"):
        weights = found.example_weights(target, prior)
        assert float(weights.sum()) == pytest.approx(1.0)
        mean = (found.factors(prior).float()[:, None] * found.rows).mean(0)
        torch.testing.assert_close(
            torch.autograd.grad(losses, w, weights.float(), retain_graph=True)[0], mean
        )
    with pytest.raises(InputError, match="prior must be a known name, got 'classes'"):
        found.factors("classes")
