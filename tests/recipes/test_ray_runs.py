"""The same study on a Ray cluster: a real one on this machine, whose nodes are ended while it works."""

import builtins
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tailgrad.checks import InputError
from tailgrad.engine import load_weights
from tailgrad.recipes import compare
from tailgrad.recipes.compose import merge
from tailgrad.recipes.jobs import Room
from tailgrad.recipes.ray_runs import RayTasks, run_task
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.runs_display import read_progress

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of which no code of ours can avoid any

TINY: dict[str, Any] = {
    "model": {"name": "resnet32"},
    "data": {"size": 16, "near_duplicates": False},
    "train": {"epochs": 1, "batch_size": 16, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"enabled": False},
}
LONG = merge(TINY, {"train": {"epochs": 10, "save_minutes": 0}})


def study(photos: Path, out: Path, over: dict[str, Any], **more: Any) -> Any:
    options: dict[str, Any] = {"seeds": 1, "regime": "quick", "overrides": over, "out": out} | more
    return compare(photos, options.pop("methods", ["ce", "focal"]), **options)


class FakeRay:
    """What ``RayTasks`` asks of a cluster before it gives out work."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = [{"Alive": True, "Resources": node} for node in nodes]

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes


ROOM = Room(cores=1, memory_gb=1, run_gb=1)


@pytest.mark.parametrize(
    ("nodes", "jobs", "runs", "threads", "gpu"),
    [
        ([{"CPU": 8.0}, {"CPU": 8.0}], "auto", 4, 4, 0.0),
        ([{"CPU": 8.0}, {"CPU": 8.0}], "auto", 100, 1, 0.0),
        ([{"CPU": 16.0}, {"CPU": 2.0}], "auto", 2, 2, 0.0),
        ([{"CPU": 8.0}, {}], 2, 100, 4, 0.0),
        ([{"CPU": 8.0, "GPU": 2.0}], "auto", 2, 4, 1.0),
        ([{"CPU": 8.0, "GPU": 2.0}], 8, 8, 1, 0.25),
        ([{"CPU": 8.0, "GPU": 2.0}], 3, 8, 2, 0.5),
    ],
)
def test_resources_of_a_run_fit_the_cluster(
    nodes: list[dict[str, float]], jobs: Any, runs: int, threads: int, gpu: float, tmp_path: Path
) -> None:
    cluster: Any = FakeRay(*nodes)
    tasks = RayTasks(cluster, jobs, (tmp_path / ".shared", "word"))
    share = tasks.share(runs, ROOM, None)
    assert share.threads == tasks.first_threads(runs) == threads
    assert share.gpu == (gpu or 1.0)
    assert tasks.share(runs, ROOM, 7).threads == 7
    gpus = sum(node.get("GPU", 0) for node in nodes)
    assert not gpus or share.jobs * share.gpu <= gpus or jobs == "auto"


def test_runs_on_cpus_keep_no_gpu_from_others(tmp_path: Path) -> None:
    cluster: Any = FakeRay({"CPU": 8.0, "GPU": 2.0})
    nonce = (tmp_path / ".shared", "word")
    for gpu, asked in ((True, 1.0), (False, 0.0)):
        tasks = RayTasks(cluster, "auto", nonce, gpu)
        assert tasks._gpu == asked
        why = tasks.share(4, ROOM, None).why
        assert tasks._gpu == asked
        assert ("GPU each" in why) is gpu
        assert "8 CPUs, 2 GPUs" in why


def test_more_threads_than_a_node_has_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    cluster: Any = FakeRay({"CPU": 2.0}, {"CPU": 4.0})
    tasks = RayTasks(cluster, "auto", (tmp_path / ".shared", "word"))
    with pytest.raises(InputError, match="train.threads must fit on a node of the cluster, got 5 and 4 CPUs"):
        tasks.start(tmp_path, 5)
    assert tasks.running == []


def test_a_folder_that_is_not_shared_is_said(tmp_path: Path) -> None:
    for content in (None, "another word"):
        if content:
            (tmp_path / ".shared").write_text(content)
        status = run_task(str(tmp_path / "job"), str(tmp_path / ".shared"), "word")
        assert (status["status"], status["kind"]) == ("failed", "input")
        assert f"the study folder must be shared with every node, got {tmp_path}" in status["text"]
        assert "--out on a shared file system" in status["text"]


def test_without_ray_the_extra_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def missing(name: str, *more: Any, **options: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return whole(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"engine=ray needs the package ray; install tailgrad\[cluster\]"):
        study(photos, tmp_path / "s", TINY, engine="ray")
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each; the first one is the head."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        made.wait_for_nodes()
    yield made
    made.shutdown()


def same(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in (one / "runs").iterdir())
    assert names == sorted(path.name for path in (other / "runs").iterdir())
    for name in names:
        a, b = (RunFolder(folder / "runs" / name) for folder in (one, other))
        ours, theirs = (load_weights(run.weights)[0] for run in (a, b))
        if (
            not all(torch.equal(ours[key], theirs[key]) for key in ours)
            or a.result()["test"] != b.result()["test"]
        ):
            return False
    return True


@pytest.mark.slow
def test_a_cluster_gives_the_bits_of_one_process(cluster: Any, photos: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    console = Console(file=said, soft_wrap=True)
    study(photos, tmp_path / "ray", TINY, engine="ray", address=cluster.address, console=console)
    study(photos, tmp_path / "one", TINY)
    assert same(tmp_path / "ray", tmp_path / "one")
    assert "Ray cluster of 2 nodes, 2 CPUs, 0 GPUs; up to 2 at a time with 1 CPU each" in said.getvalue(), (
        said.getvalue()
    )
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("ray", "one")]
    assert names[0] == names[1]


def wait_for(condition: Callable[[], Any], seconds: float = 400) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def worker_at(folder: Path) -> int:
    """The process that holds a run's folder."""
    import json

    path = wait_for(lambda: next(iter(folder.glob("runs/*.ce.*/.lock.json")), None))
    return int(json.loads(path.read_text())["process"])


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long study in one process."""
    return Path(study(photos, tmp_path_factory.mktemp("whole") / "one", LONG).folder)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_study_outlives_a_worker_and_a_node(
    cluster: Any, photos: Path, tmp_path: Path, whole: Path, what: str
) -> None:
    said = io.StringIO()
    lost: list[str] = []

    def strike() -> None:
        # A core a node: once both runs are at work, each node has one of them.
        both = ("ce", "focal") if what == "node" else ("ce",)
        for name in both:
            wait_for(
                lambda n=name: [p for p in tmp_path.glob(f"s/jobs/*.{n}.*/progress.json") if read_progress(p)]
            )
        if what == "worker":
            os.kill(worker_at(tmp_path / "s"), signal.SIGKILL)
        else:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        lost.append(what)

    thread = threading.Thread(target=strike)
    thread.start()
    console = Console(file=said, soft_wrap=True)
    study(photos, tmp_path / "s", LONG, engine="ray", address=cluster.address, console=console)
    thread.join()
    assert lost == [what]
    assert "its worker was lost" in said.getvalue()
    assert "trying again, 1 of 2" in said.getvalue()
    assert same(tmp_path / "s", whole)


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster")
def test_a_cluster_that_does_not_answer_is_an_input_error(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="address must be that of a running Ray cluster, got 'auto'"):
        study(photos, tmp_path / "s", TINY, engine="ray", address="auto")
    assert "ray" in sys.modules
    assert not (tmp_path / "s").exists()
