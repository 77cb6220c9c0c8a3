"""Two processes under plain DDP, Fabric, Lightning and Accelerate: step by step the order of one process."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.utils.data import DataLoader

from tailgrad.samplers import ClassBalancedSampler, InstanceSampler, MPerClassSampler, StratifiedSampler

pytestmark = pytest.mark.long

Steps = list[list[int]]
TARGET = [0] * 64 + [1] * 24 + [2] * 5 + [3] * 3
SAMPLERS: dict[str, tuple[type[Any], dict[str, int]]] = {
    "instance": (InstanceSampler, {}),
    "class_balanced": (ClassBalancedSampler, {}),
    "stratified": (StratifiedSampler, {"batch_size": 8}),
    "m_per_class": (MPerClassSampler, {"batch_size": 8, "m": 2}),
}
USUAL = ("plain", "fabric", "lightning", "accelerate", "unprepared", "split", "dispatched", "workers")


def _loader(name: str, target: list[int] = TARGET, batch_size: int = 8, workers: int = 0) -> DataLoader[int]:
    cls, options = SAMPLERS[name]
    sampler = cls(target, seed=3, **options)
    places: Any = range(len(target))
    return DataLoader(places, batch_size=batch_size, sampler=sampler, num_workers=workers)


def _epochs(loader: Any, set_epoch: bool = False) -> list[Steps]:
    found = []
    for epoch in (0, 1):
        if set_epoch:
            loader.sampler.set_epoch(epoch)
        found.append([batch.tolist() for batch in loader])
        assert len(found[-1]) == len(loader)
    return found


def _lightning(loader: DataLoader[int]) -> list[Steps]:
    from lightning.pytorch import LightningModule, Trainer

    class Recorder(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.weight = nn.Parameter(torch.zeros(1))
            self.seen: list[Steps] = [[], []]

        def training_step(self, batch: torch.Tensor) -> None:
            self.seen[self.current_epoch].append(batch.tolist())

        def configure_optimizers(self) -> None:
            return None

    module = Recorder()
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, barebones=True)
    trainer.fit(module, loader)
    return module.seen


def _accelerate() -> dict[str, Any]:
    from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches

    plain = Accelerator(cpu=True)
    found: dict[str, Any] = {f"accelerate {name}": _epochs(plain.prepare(_loader(name))) for name in SAMPLERS}
    found |= {f"unprepared {name}": _epochs(_loader(name), set_epoch=True) for name in SAMPLERS}
    for name in ("instance", "class_balanced"):
        found[f"workers {name}"] = _epochs(plain.prepare(_loader(name, workers=1)))
    resumed = plain.prepare(_loader("instance"))
    resumed.set_epoch(0)
    found["skipped"] = [batch.tolist() for batch in skip_first_batches(resumed, 4)]
    found["uneven"] = _epochs(plain.prepare(_loader("instance", TARGET[:90])))
    for word, options in (("split", {"split_batches": True}), ("dispatched", {"dispatch_batches": True})):
        other = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options))
        size = 16 if word == "split" else 8  # of all ranks together
        for name in ("instance", "class_balanced"):
            found[f"{word} {name}"] = _epochs(other.prepare(_loader(name, batch_size=size)))
    return found


def _worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    early = {name: _loader(name) for name in SAMPLERS}  # before there is a process group, as in user code
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    os.environ.update({key: str(value) for key, value in names.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    from lightning.fabric import Fabric

    found: dict[str, Any] = {f"plain {name}": _epochs(early[name], set_epoch=True) for name in SAMPLERS}
    found["plain uneven"] = _epochs(_loader("instance", TARGET[:89]), set_epoch=True)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    found |= {f"fabric {name}": _epochs(fabric.setup_dataloaders(_loader(name))) for name in SAMPLERS}
    found |= _accelerate()
    found |= {f"lightning {name}": _lightning(early[name]) for name in ("instance", "stratified")}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pytest.importorskip("accelerate", reason="needs the extra huggingface")
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def _alone(name: str, epoch: int, target: list[int] = TARGET) -> list[int]:
    loader = _loader(name, target)
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return list(loader.sampler)


@pytest.mark.parametrize("framework", USUAL)
def test_a_step_of_two_ranks_is_that_of_one_process(ranks: list[dict[str, Any]], framework: str) -> None:
    names = [
        key.partition(" ")[2] for key in ranks[0] if key.startswith(f"{framework} ") and "uneven" not in key
    ]
    assert len(names) >= 2
    for name in names:
        for epoch in (0, 1):
            first, second = (found[f"{framework} {name}"][epoch] for found in ranks)
            order = _alone(name, epoch)
            assert len(order) == 96
            assert [len(step) for step in first] == [len(step) for step in second] == [8] * 6
            for step, (a, b) in enumerate(zip(first, second, strict=True)):
                assert sorted(a + b) == sorted(order[16 * step : 16 * step + 16]), (name, epoch, step)


@pytest.mark.parametrize("framework", ["plain", "fabric", "lightning", "accelerate"])
def test_batches_keep_their_classes_on_every_rank(ranks: list[dict[str, Any]], framework: str) -> None:
    for found in ranks:
        for batch in found[f"{framework} stratified"][0]:
            assert {TARGET[i] for i in batch} == {0, 1, 2, 3}
        for batch in found.get(f"{framework} m_per_class", [[]])[0]:
            assert torch.tensor([TARGET[i] for i in batch]).bincount().tolist() == [2, 2, 2, 2]


def test_what_does_not_divide_is_filled_up_and_what_was_seen_can_be_skipped(
    ranks: list[dict[str, Any]],
) -> None:
    order = _alone("instance", 0, TARGET[:89])
    plain = [[i for batch in found["plain uneven"][0] for i in batch] for found in ranks]
    assert [len(part) for part in plain] == [45, 45]
    assert sorted(plain[0] + plain[1]) == sorted([*order, order[0]])
    order = _alone("instance", 0, TARGET[:90])
    uneven = [i for found in ranks for batch in found["uneven"][0] for i in batch]
    assert sorted(uneven) == sorted(order + order[:6])
    for found in ranks:
        assert found["skipped"] == found["accelerate instance"][0][4:]
