"""Two processes train as one does on the same batches: every piece that remembers or counts something."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.distributed import agreed, place
from tailgrad.engine import Fitted, Learner, LossWatch, MonitoredStep, Plan, fit, infer
from tailgrad.engine.loop import Step
from tailgrad.engine.watch import Diverged
from tailgrad.files import write_text
from tailgrad.interference.monitor import Monitor
from tailgrad.recipes.assemble import assemble, make_loss, make_model
from tailgrad.recipes.compose import compose
from tailgrad.recipes.config import Config
from tailgrad.recipes.launch import launched
from tailgrad.recipes.orders import PARTNER_SEED, make_order
from tailgrad.recipes.scores import score
from tailgrad.recipes.stepping import choose_step
from tailgrad.types import ClassInfo, StepRecord

pytestmark = pytest.mark.long

COUNTS = (14, 10, 7, 4, 2)
CLASSES = ClassInfo(tuple("abcde"), COUNTS)
TARGET = torch.arange(5).repeat_interleave(torch.tensor(COUNTS))
NOISE = torch.randint(0, 200, (len(TARGET), 3, 32, 32), generator=torch.Generator().manual_seed(0))
IMAGES = (NOISE + 10 * TARGET.view(-1, 1, 1, 1)).to(torch.uint8)
EMA = {"loss": {"name": "gala", "options": {"accumulation": "ema", "momentum": 0.9}}}
WEIGHTED = {"loss": {"name": "cross_entropy", "options": {"weights": "inverse"}}}
COMBINED = {"combine": {"parameters": "all"}}
WATCHED = {"interference": {"monitor_every": 1, "parameters": "all"}}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cross-entropy": ("ce", "joint", WATCHED),
    "cross-entropy, groups": ("ce", "group", WATCHED),
    "cross-entropy, frozen": ("ce", "still", {}),
    "class weights": ("ce", "group", WEIGHTED),
    "balanced softmax": ("balanced_softmax", "joint", {}),
    "gala": ("gala", "joint", {}),
    "gala, average": ("gala", "group", EMA),
    "ldam, deferred weights": ("ldam_drw", "still", {}),
    "deferred sampling": ("drs", "joint", {}),
    "group dro": ("group_dro", "joint", {}),
    "seesaw": ("seesaw", "group", {}),
    "soft f1": ("soft_f1", "joint", {}),
    "class-balanced": ("class_balanced_sampling", "joint", {}),
    "stratified": ("stratified_sampling", "group", {}),
    "progressive": ("progressive_sampling", "joint", {}),
    "sam": ("sam", "joint", {}),
    "sam, class weights": ("sam", "group", WEIGHTED),
    "sam by class": ("sam_per_class", "joint", {}),
    "focal sam": ("focal_sam", "group", {}),
    "imbsam": ("imbsam", "joint", {}),
    "cc-sam": ("cc_sam", "joint", {}),
    "pcgrad": ("pcgrad", "joint", {}),
    "mgda": ("mgda", "group", COMBINED),
    "grad norm": ("grad_norm", "group", {}),
    "share balancer": ("share_balancer", "joint", {}),
    "gap weights": ("gap_weights", "joint", {}),
    "neural collapse": ("neural_collapse", "joint", {}),
    "sam, neural collapse": ("neural_collapse", "joint", {"sharpness": {"name": "sam"}}),
    "ride": ("ride", "joint", {}),
    "bbn": ("bbn", "joint", {}),
    "dot regression": ("etf", "joint", {}),
}
QUICK = (
    "cross-entropy",
    "cross-entropy, groups",
    "gala",
    "gala, average",
    "ldam, deferred weights",
    "stratified",
    "sam",
    "pcgrad",
    "neural collapse",
)
Found = dict[str, Any]


def _config(method: str, above: dict[str, Any], devices: int, device: str = "cpu") -> Config:
    train = {"epochs": 2, "batch_size": 12, "precision": "float32", "channels_last": False, "augment": []}
    train |= {"device": device, "devices": devices}
    settings = {"train": train, "model": {"name": "resnet8"}, "optim": {"name": "sgd", "lr": 0.02}}
    return compose("x", "digits", method, settings | above)


def _without_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(4, child.num_features))
        else:
            _without_batch_norm(child)


def _bytes_to_numbers(images: Tensor) -> Tensor:
    return images.double() / 128 - 1


def _learner(config: Config, norm: str) -> Learner:
    model = make_model(config, 5)
    if norm == "group":
        _without_batch_norm(model)
    model.double()
    loss = make_loss(config, CLASSES, model=model).double()
    learner = assemble(config, model, loss, _bytes_to_numbers, COUNTS)  # type: ignore[arg-type]  # float64
    if norm == "still":
        norms = [m for m in learner.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        learner.still = tuple(norms)
    return learner


def _loader(config: Config) -> ResidentLoader:
    loader = ResidentLoader(IMAGES, TARGET, torch.arange(len(TARGET)), batch_size=12, seed=3)
    orders = [
        make_order(sampler, TARGET.tolist(), epochs=2, batch_size=12, seed=seed)
        for seed, sampler in {3: config.sampler, 3 + PARTNER_SEED: config.partner}.items()
    ]
    return loader.share(*place()).ordered(*orders)


class _Notes:
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rows: list[dict[str, Any]] = []

    def on_step(self, record: StepRecord) -> None:
        self.losses.append(record.loss)

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.rows.append({name: value for name, value in row.items() if name != "seconds"})


def _fit(
    config: Config, learner: Learner, keep: Path, step: Step, notes: _Notes, save: float | None = None
) -> Fitted:
    held_out = ResidentLoader(IMAGES, TARGET, torch.arange(len(TARGET)), batch_size=10)

    def validate() -> dict[str, Any]:
        logits, target, _ = infer(learner, held_out)
        return score(logits, target, CLASSES, learner.loss)

    plan = Plan(epochs=2, keep=keep, monitor="val_loss", save_minutes=save)
    return fit(learner, _loader(config), validate, plan, step=step, watch=LossWatch(str), observers=[notes])


def _trained(case: str, devices: int, folder: Path, device: str) -> Found:
    method, norm, above = CASES[case]
    config, notes = _config(method, above, devices, device), _Notes()
    learner, step = _learner(config, norm), choose_step(config)
    monitor = None
    if config.interference.monitor_every:
        monitor = Monitor(learner.network, CLASSES.names, parameters="all", every=1)
        step = MonitoredStep(step, monitor, [])
    fitted = _fit(config, learner, folder / case, step, notes)
    held_out = ResidentLoader(IMAGES, TARGET, torch.arange(len(TARGET)), batch_size=10)
    return {
        "losses": torch.tensor(notes.losses, dtype=torch.float64),
        "rows": notes.rows,
        "best": (fitted.best_epoch, fitted.step),
        "network": learner.network.state_dict(),
        "loss": learner.loss.state_dict(),
        "records": [] if monitor is None else monitor.records,
        "predictions": infer(learner, held_out),
    }


def _resumed(devices: int, folder: Path, device: str) -> Found:
    """A run stopped at its fifth step, in the middle of the second epoch, and gone on with anew."""
    config, notes = _config("gala", {}, devices, device), _Notes()
    taken: list[int] = []

    def until_five(learner: Learner, batch: Any) -> Tensor:
        if len(taken) == 4:
            raise KeyError
        taken.append(1)
        return choose_step(config)(learner, batch)

    with suppress(KeyError):
        _fit(config, _learner(config, "joint"), folder, until_five, notes, save=0)
    learner = _learner(config, "joint")
    fitted = _fit(config, learner, folder, choose_step(config), notes, save=0)
    return {"network": learner.network.state_dict(), "step": fitted.step}


def _write_below(folder: Path) -> None:
    write_text(folder / "resumed" / "last.safetensors" / "a.txt", "a file is no folder")


def _diverge() -> None:
    watch = LossWatch("image {}".format)
    watch.add(torch.tensor(torch.nan), step=1, epoch=1, index=torch.tensor([place()[0]]))


def _said(error: Callable[[], None]) -> str:
    try:
        error()
    except (InputError, Diverged) as raised:
        return str(raised)
    return ""


def _all(cases: list[str], devices: int, folder: Path, device: str) -> Found:
    with launched(_config("ce", {}, devices, device)):
        found = {case: _trained(case, devices, folder, device) for case in cases}
        if "gala" in cases:
            found["resumed"] = _resumed(devices, folder / "resumed", device)
            found["errors"] = [_said(error) for error in (partial(_write_below, folder), _diverge)]
            found["agreed"] = agreed(place()[0])
            found["files"] = sorted(p.name for p in (folder / "resumed").iterdir())
        return found


def _worker(rank: int, port: int, folder: str, cases: list[str], device: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    torch.set_num_threads(1)
    torch.save(_all(cases, 2, Path(folder), device), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()
    names = {task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")}
    assert not {name for name in names if "gloo" in name}  # such a thread may abort an ending interpreter


def _one_and_two(cases: list[str], folder: Path, device: str = "cpu") -> list[Found]:
    """What one process finds, then what each of two does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.spawn(_worker, (port, str(folder), cases, device), nprocs=2, join=False)
    alone = _all(cases, 1, folder / "alone", device)
    while not context.join():
        pass
    return [alone, *(torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1))]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return _one_and_two(list(QUICK), tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def found_more(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return _one_and_two([case for case in CASES if case not in QUICK], tmp_path_factory.mktemp("more"))


@pytest.mark.parametrize("case", QUICK)
def test_two_processes_train_as_one(found: list[Found], case: str) -> None:
    _check(*(one[case] for one in found))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case not in QUICK])
def test_two_processes_train_as_one_by_further_methods(found_more: list[Found], case: str) -> None:
    _check(*(one[case] for one in found_more))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, which two processes share")
def test_two_processes_train_as_one_on_one_gpu(tmp_path: Path) -> None:
    cases = ["cross-entropy", "cross-entropy, groups", "gala", "sam", "pcgrad"]
    alone, first, second = _one_and_two(cases, tmp_path, "cuda")
    for case in cases:
        _check(alone[case], first[case], second[case])


def _check(alone: Found, first: Found, second: Found) -> None:
    assert len(alone["losses"]) >= 6
    for key in ("losses", "network", "loss", "predictions"):
        torch.testing.assert_close(first[key], alone[key], rtol=2e-6, atol=1e-9)
        torch.testing.assert_close(second[key], first[key], rtol=1e-12, atol=1e-14, check_device=False)
    assert first["best"] == second["best"] == alone["best"]
    assert first["rows"] == second["rows"]
    assert [_close(row) for row in first["rows"]] == [_close(row) for row in alone["rows"]]


def _close(row: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(v, rel=1e-5) if isinstance(v, float) else v for name, v in row.items()}


@pytest.mark.parametrize("case", ["cross-entropy", "cross-entropy, groups"])
def test_the_monitor_records_what_it_does_in_one_process(found: list[Found], case: str) -> None:
    alone, first, second = (one[case]["records"] for one in found)
    assert len(alone) == 6
    assert json.dumps(first) == json.dumps(second)
    for one, two in zip(alone, first, strict=True):
        assert _numbers(two) == pytest.approx(_numbers(one), rel=1e-5, abs=1e-9)


def _numbers(record: Any) -> list[float]:
    """All numbers of a record, in their order."""
    if isinstance(record, dict):
        record = [value for key, value in sorted(record.items()) if key != "notes"]
    if isinstance(record, list):
        return [number for value in record for number in _numbers(value)]
    return [float(record)] if isinstance(record, int | float) else []


def test_a_stopped_run_goes_on_to_the_same_end(found: list[Found]) -> None:
    for one in found[1:]:
        assert one["resumed"]["step"] == 6
        torch.testing.assert_close(one["resumed"]["network"], one["gala"]["network"], rtol=0, atol=0)


def test_an_error_of_one_is_an_error_of_all(found: list[Found]) -> None:
    _, first, second = found
    assert first["errors"] == second["errors"]
    refused, diverged = first["errors"]
    assert "cannot write" in refused
    assert "image 0, image 1;" in diverged  # the batch of both
    assert first["agreed"] == second["agreed"] == 0


def test_only_the_first_process_writes(found: list[Found]) -> None:
    assert all(one["files"] == found[0]["files"] for one in found)
