"""Contrastive losses and moving class means on two processes, against one that holds both batches."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tailgrad.losses import BCLLoss, NeuralCollapseLoss, NTXentLoss, SupConLoss, frozen

pytestmark = pytest.mark.long

X = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
Y = torch.tensor([0, 0, 3, 0, 3, 1, 1, 2])
PARTS = (slice(0, 4), slice(4, 8))
UNEQUAL = (slice(0, 3), slice(3, 8))


def _losses() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    counts = [4] * 4
    losses = [NTXentLoss(), SupConLoss(), BCLLoss(counts, dim=4), NeuralCollapseLoss(counts, dim=4, warmup=0)]
    return [loss.double() for loss in losses]


def _value(loss: torch.nn.Module, views: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return loss(views[0] if isinstance(loss, NeuralCollapseLoss) else views, target)


def _run(rank: int | None = None) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Value, gradient and state of each loss after a step, on one rank's part or (None) on everything."""
    found = []
    for loss in _losses():
        parts = UNEQUAL if isinstance(loss, NeuralCollapseLoss) else PARTS
        part = slice(None) if rank is None else parts[rank]
        views, target = X[:, part], Y[part]
        _value(loss, views.flip(2).requires_grad_(), target)  # means to go on from
        leaf = views.clone().requires_grad_()
        value = _value(loss, leaf, target)
        with frozen():  # the second pass of a step
            assert torch.equal(_value(loss, leaf, target), value)
        value.backward()
        assert leaf.grad is not None
        state = getattr(loss, "means", torch.zeros(1))
        found.append((value.detach(), leaf.grad, state))
    return found


def _worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save(_run(rank), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_together_are_one_with_both_batches(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for place, (value, gradient, state) in enumerate(_run()):
        parts = [rank[place] for rank in ranks]
        torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, value)
        assert torch.equal(parts[0][2], parts[1][2])
        torch.testing.assert_close(parts[0][2], state)
        # As DDP averages gradients over ranks.
        torch.testing.assert_close(torch.cat([part[1] for part in parts], 1) / 2, gradient)
