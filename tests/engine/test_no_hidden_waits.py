"""On a GPU a step waits for the device only where the watch looks at losses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tailgrad.augment import Normalize
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import LossWatch, supervised_step
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import create_model
from tailgrad.recipes.assemble import assemble
from tailgrad.recipes.config import Config
from tailgrad.types import StepRecord

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STEPS = 6


@pytest.fixture
def refused() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def _learner(**train: Any) -> Any:
    settled = {"precision": "bfloat16", "channels_last": True, "fused": True, "batch_size": 8, **train}
    config = Config(source="x", model={"name": "resnet8"}, optim={"name": "sgd"}, train=settled)
    model, loss = create_model("resnet8", 4), CrossEntropyLoss([40, 30, 20, 10])
    learner = assemble(config, model, loss, Normalize([0.5] * 3, [0.25] * 3), [40, 30, 20, 10])
    learner.start_epoch(1, 1)
    return learner


@needs_gpu
@pytest.mark.parametrize("augment", [["crop", "flip"], ["trivial_augment", "cutout"]])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_steps_do_not_wait(refused: None, augment: list[str], clip_norm: float) -> None:
    torch.cuda.set_sync_debug_mode("default")
    learner = _learner(augment=augment, clip_norm=clip_norm)
    images = torch.randint(0, 256, (8 * STEPS, 3, 32, 32), dtype=torch.uint8, device="cuda")
    target = torch.arange(8 * STEPS) % 4
    loader = ResidentLoader(images, target, torch.arange(8 * STEPS), batch_size=8, seed=0)
    watch = LossWatch(str, every=STEPS)
    batches = list(loader)  # one copy an epoch brings the order
    supervised_step(learner, batches[0])  # what is made once, such as the statistics on the device
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    for number, batch in enumerate(batches[1:]):
        loss = supervised_step(learner, batch)
        assert watch.add(loss, step=number, epoch=1, index=batch.index) == []
    torch.cuda.set_sync_debug_mode("default")
    assert [record.step for record in watch.flush()] == list(range(STEPS - 1))


def test_the_watch_looks_as_often_as_it_is_told() -> None:
    watch, looked = LossWatch(str, every=3), []
    for number in range(7):
        records: list[StepRecord] = watch.add(
            torch.tensor(float(number)), step=number, epoch=1, index=torch.tensor([number])
        )
        looked.append([record.step for record in records])
    assert looked == [[], [], [0, 1, 2], [], [], [3, 4, 5], []]


@pytest.mark.parametrize(("wanted", "every"), [("auto", 1), (7, 7)])
def test_log_every(wanted: Any, every: int, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from tailgrad.recipes.job import Job

    config = Config(source="x", train={"log_every": wanted})
    learner = SimpleNamespace(fabric=SimpleNamespace(device=torch.device("cpu")))
    parts: Any = (config, None, SimpleNamespace(name=str), learner, None, None, None)
    assert Job(*parts).watch().every == every
