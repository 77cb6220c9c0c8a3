"""Several processes that train one network: who starts them, and what they agree on."""

import atexit
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import nn

from tailgrad.checks import InputError
from tailgrad.distributed import place, together
from tailgrad.models.joint_norm import join_batch_norms
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config
from tailgrad.recipes.crew import crew
from tailgrad.recipes.jobs import cores
from tailgrad.recipes.stepping import has_auxiliary

PATIENCE = timedelta(minutes=10)
"""How long one process waits for another that lives and does not answer."""


@contextmanager
def launched(config: Config) -> Iterator[None]:
    """Inside, the processes of a run know one another, and the first one writes its files.

    Args:
        config: ``train.devices`` says how many; "auto" is as many as were started.

    Raises:
        InputError: as many as were not started, nor can be from here.
        ConnectionError: one of them has ended or does not answer.

    Example:
        >>> with launched(Config(source="x")):
        ...     place()
        (0, 1)
    """
    with ExitStack() as stack:
        if _processes(config) > 1:
            check_shared(config)
            make_fabric(torch.device("cuda" if _on_gpu(config) else "cpu"), _processes(config))
            stack.enter_context(together())
        yield


def _on_gpu(config: Config) -> bool:
    return config.train.device != "cpu" and torch.cuda.is_available()


def _processes(config: Config) -> int:
    """Processes of the run; those of a command line of our own are started here."""
    wanted, there = config.train.devices, crew()
    if wanted in ("auto", there.processes):
        return there.processes
    if there.processes == 1 and _is_command():
        _share_cores(config, int(wanted))
        _start_others(int(wanted))
        return int(wanted)
    started = f"{there.processes} started by {there.name}" if there.name else "one process"
    raise InputError(
        f"train.devices must be the number of processes, got {wanted} and {started}; start a script of your "
        f"own by torchrun --nproc-per-node {wanted}, or use tailgrad train"
    )


def _is_command() -> bool:
    """Whether this is ``tailgrad train``, which can be run again beside itself."""
    program, command = Path(sys.argv[0]), sys.argv[1:2]
    is_ours = program.stem == "tailgrad" or program.parts[-2:] == ("tailgrad", "__main__.py")
    return is_ours and command == ["train"]


def _share_cores(config: Config, processes: int) -> None:
    """As many threads for each as there are cores for it, unless somebody has said how many."""
    if config.train.threads == "auto" and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, cores() // processes)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


def _start_others(processes: int) -> None:
    """Run this command line again for every process but the first, and be the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    command = [sys.executable, "-m", "tailgrad", *sys.argv[1:]]
    others = [
        subprocess.Popen(command, env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(1, processes)
    ]
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0"}
    atexit.register(_end, others)


def _end(others: list["subprocess.Popen[bytes]"]) -> None:
    """Wait a little for the others, which end when they notice that the first one has."""
    for other in others:
        try:
            other.wait(timeout=10)
        except subprocess.TimeoutExpired:
            other.kill()


class _Strategy(DDPStrategy):
    """Every rank on its own GPU, or several on one where there are fewer."""

    def __init__(self, device: torch.device, local: int) -> None:
        gpus = max(1, torch.cuda.device_count())
        devices = [device if device.type == "cpu" else torch.device("cuda", i % gpus) for i in range(local)]
        own = device.type == "cuda" and local <= gpus
        super().__init__(
            parallel_devices=devices,
            process_group_backend="cpu:gloo,cuda:nccl" if own else "gloo",  # nccl takes one rank a GPU
            timeout=PATIENCE,
            broadcast_buffers=False,
        )


def make_fabric(device: torch.device, processes: int = 1, plugins: Any = None) -> Fabric:
    """Fabric on a device, under several processes with DDP; its own samplers stay off.

    Args:
        device: "cpu" or "cuda".
        processes: of all machines.
        plugins: precision.

    Example:
        >>> make_fabric(torch.device("cpu")).world_size
        1
    """
    if processes == 1:
        return Fabric(accelerator=device.type, devices=1, plugins=plugins)
    there = crew()
    local = processes // there.machines
    own = (
        [LightningEnvironment()]
        if there.name == "torchrun" and "TORCHELASTIC_RUN_ID" not in os.environ
        else []
    )
    fabric = Fabric(
        accelerator="auto",
        strategy=_Strategy(device, local),
        num_nodes=there.machines,
        plugins=[*(plugins or []), *own],
    )
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(
        logging.WARNING
    )  # we say it ourselves
    fabric.launch()
    atexit.register(_leave)
    return fabric


def _leave() -> None:
    """End the group, and with it its threads, while the interpreter still stands."""
    if dist.is_initialized():
        dist.destroy_process_group()


def join(model: nn.Module) -> None:
    """Let BatchNorm take its statistics from the batch of all processes, where there are several.

    Example:
        >>> norm = nn.BatchNorm2d(3)
        >>> join(norm)
        >>> type(norm).__name__
        'BatchNorm2d'
    """
    if place()[1] > 1:
        join_batch_norms(model)


def check_shared(config: Config) -> None:
    """Check that a method can be shared among processes, before any work is done.

    Raises:
        InputError: it cannot; the reason is named.

    Example:
        >>> check_shared(Config(source="x", train={"devices": 2}))
    """
    if not has_auxiliary(config.auxiliary):
        return
    by_class = config.combine.name if config.combine.name != NONE else config.sharpness.name
    if by_class not in (NONE, "sam"):
        raise InputError(
            f"train.devices must be 1 where a second loss meets gradients by class, got {by_class!r} with "
            f"auxiliary.name={config.auxiliary.name}: its part of a class's gradient is on all processes; "
            "leave one out"
        )
