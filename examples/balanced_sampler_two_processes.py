"""A class-balanced sampler in plain PyTorch on two processes: nothing wraps it, nothing is drawn twice."""

from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from digits import digits
from tailgrad.samplers import ClassBalancedSampler


def train(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=2)
    data, drawn = digits("train"), torch.zeros(10, dtype=torch.int64)
    sampler = ClassBalancedSampler(data.labels)
    loader = DataLoader(data, batch_size=32, sampler=sampler)
    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(1, 6):
        sampler.set_epoch(epoch)
        for images, target in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), target).backward()
            optimizer.step()
            drawn += target.bincount(minlength=10)
    dist.all_reduce(drawn)
    if rank == 0:
        print(f"{len(data)} images, drawn over 5 epochs by both ranks, by class: {drawn.tolist()}")
    dist.barrier()
    del model  # else it ends the group, with Python's lock held, which the group's threads may wait for
    dist.destroy_process_group()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train, (folder,), nprocs=2)
