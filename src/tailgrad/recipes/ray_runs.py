"""Workers that are tasks of a Ray cluster: the same task files in the same study folder, seen by every node.

Only the path of a task travels to a worker and only its status comes back; Ray carries both in its own
format between its own processes. Every task has a fresh process, so that a run gives what it gives alone.
"""

import math
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tailgrad.checks import InputError
from tailgrad.files import write_text
from tailgrad.recipes.jobs import Room, Share

Status = dict[str, Any]


class RayTasks:
    """Tasks on a cluster.

    Args:
        ray: the connected module.
        jobs: how many at once, or "auto" for as many as the cluster has room for.
        nonce: file in the study folder that every node must see, and what it holds.
        gpu: whether any run may use one; without, none is asked for and none is kept from others.

    Example: see ``tests/recipes/test_ray_runs.py``.
    """

    def __init__(self, ray: ModuleType, jobs: int | str, nonce: tuple[Path, str], gpu: bool = True) -> None:
        self.ray, self.jobs, self.nonce, self.gpu = ray, jobs, nonce, gpu
        self._at_work: dict[Any, Path] = {}
        self._gpu = 1.0 if self._gpus() else 0.0

    @classmethod
    @contextmanager
    def connected(
        cls, address: str | None, jobs: int | str, study: Path, gpu: bool = True
    ) -> Iterator["RayTasks"]:
        """Connect, and take leave at the end.

        Args:
            address: of a cluster; None begins one of this machine.
            jobs: see the class.
            study: folder.
            gpu: see the class.

        Raises:
            InputError: Ray is missing, or the cluster does not answer.
        """
        ray = _ray()
        own = not ray.is_initialized()
        if own:
            _connect(ray, address)
        nonce = study.resolve() / ".shared", uuid.uuid4().hex
        write_text(*nonce)
        try:
            yield cls(ray, jobs, nonce, gpu)
        finally:
            nonce[0].unlink(missing_ok=True)
            if own:
                ray.shutdown()

    @property
    def running(self) -> list[Path]:
        """Folders of the tasks that are worked on or wait for a node."""
        return list(self._at_work.values())

    def _each(self, kind: str) -> list[int]:
        """CPUs or GPUs of every node that is up."""
        return [int(node["Resources"].get(kind, 0)) for node in self.ray.nodes() if node["Alive"]]

    def _gpus(self) -> int:
        """Those that runs may be given."""
        return sum(self._each("GPU")) if self.gpu else 0

    def first_threads(self, runs: int) -> int:
        """Threads of each of ``runs`` runs: what the smallest node can give them all."""
        nodes = [cpus for cpus in self._each("CPU") if cpus]
        at_once = runs if self.jobs == "auto" else min(runs, int(self.jobs))
        return max(1, min(sum(nodes) // at_once, min(nodes, default=1)))

    def share(self, runs: int, _: Room, threads: int | None) -> Share:
        """What every run gets: cores, and a GPU or a part of one."""
        jobs = runs if self.jobs == "auto" else min(runs, int(self.jobs))
        own = threads or self.first_threads(runs)
        cpus, gpus = self._each("CPU"), self._gpus()
        gpu = min(1.0, gpus / jobs) if gpus and self.jobs != "auto" else 1.0
        gpu = 1 / math.ceil(1 / gpu)  # equal parts of one device
        each = f"{own} CPU{'s'[: own - 1]}" + (f" and {gpu:.2g} GPU" if gpus else "")
        there = f"{len(cpus)} node{'s'[: len(cpus) - 1]}, {sum(cpus)} CPUs, {sum(self._each('GPU'))} GPUs"
        self._gpu = gpu if gpus else 0.0
        return Share(jobs, own, gpu, f"Ray cluster of {there}; up to {jobs} at a time with {each} each")

    def start(self, place: Path, threads: int) -> None:
        """Hand the task of a folder to the cluster.

        Raises:
            InputError: no node has so many CPUs; Ray would wait for one for ever.
        """
        most = max(self._each("CPU"), default=0)
        if most and threads > most:
            raise InputError(
                f"train.threads must fit on a node of the cluster, got {threads} and {most} "
                f"CPU{'s'[: most - 1]} at most; set fewer threads and another --out, or add a larger node"
            )
        (place / "status.json").unlink(missing_ok=True)
        task = self.ray.remote(max_calls=1)(run_task).options(
            num_cpus=threads,
            num_gpus=self._gpu,
            max_retries=0,  # the study itself tries again, and says so
            scheduling_strategy="SPREAD",
            name=place.name,
        )
        nonce, word = self.nonce
        self._at_work[task.remote(str(place), str(nonce), word)] = place

    def ended(self) -> list[tuple[Path, Status]]:
        """Tasks that ended since the last call, and what came of them."""
        if not self._at_work:
            return []
        over, _ = self.ray.wait(list(self._at_work), num_returns=len(self._at_work), timeout=0)
        return [(self._at_work.pop(task), self._status(task)) for task in over]

    def _status(self, task: Any) -> Status:
        try:
            status: Status = self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            last = str(error).strip().splitlines()[-1]
            return {"status": "failed", "kind": "error", "text": f"{last}; every node needs tailgrad"}
        except self.ray.exceptions.RayError as error:  # a worker or its node is gone
            return {"status": "died", "text": f"its worker was lost ({type(error).__name__})"}
        return status

    def stop(self) -> None:
        """End all tasks."""
        for task in self._at_work:
            self.ray.cancel(task, force=True)
        self._at_work.clear()


def run_task(place: str, nonce: str, word: str) -> Status:
    """On a node: work on a task, if this machine sees the study's folder.

    Args:
        place: folder of the task.
        nonce: a file in the study folder.
        word: what it holds.

    Example:
        >>> run_task("job", "/nowhere/.shared", "word")["kind"]
        'input'
    """
    path = Path(nonce)
    if not path.is_file() or path.read_text(encoding="utf-8") != word:
        text = (
            f"the study folder must be shared with every node, got {path.parent}, which "
            f"{socket.gethostname()} does not see as this machine does; give --out on a shared file system"
        )
        return {"status": "failed", "kind": "input", "text": text}
    from tailgrad.recipes.worker import work

    return work(Path(place))


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError(
            f"engine=ray needs the package {error.name}; install tailgrad[cluster] or leave --engine out"
        ) from error
    return ray


def _connect(ray: ModuleType, address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        quiet |= {"include_dashboard": False}
    try:
        ray.init(address=address or "local", **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"address must be that of a running Ray cluster, got {address!r}: {error}; begin one with `ray "
            "start --head` or leave --address out"
        ) from error
