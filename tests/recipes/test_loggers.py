"""TensorBoard, MLflow and Weights & Biases, each read back with its own reader."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailgrad.checks import InputError
from tailgrad.engine.live_log import CURVES, LiveLog
from tailgrad.recipes import train
from tailgrad.recipes.compose import merge, validate
from tailgrad.recipes.loggers import PROGRAMS, live_logs
from tailgrad.recipes.run_folder import RunFolder, read_json
from tailgrad.types import StepRecord

NAMES = ("round", "square", "thin")


def needs(package: str) -> Any:
    reason = f"{package} is not installed: pip install 'tailgrad[{package}]'"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


def followed(photos: Path, quick: dict[str, Any], out: Path, name: str) -> RunFolder:
    """A run of two epochs with measurements, followed in one program."""
    return RunFolder(
        train(photos, "quick", overrides=merge(quick, {"train": {"loggers": [name]}}), out=out).folder
    )


class Kept:
    """A program that keeps what it is told."""

    def __init__(self) -> None:
        self.figures: list[tuple[dict[str, float], int]] = []

    def log(self, figures: Any, step: int) -> None:
        self.figures.append((dict(figures), step))

    def save(self) -> None:
        pass


def row(epoch: int, recall: dict[str, float]) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1.0, "val_worst_class": "a", "val_recall": recall}


def test_everything_is_logged_under_the_number_of_the_step() -> None:
    kept = Kept()
    log = LiveLog(kept, step=3)  # type: ignore[arg-type]
    log.on_step(StepRecord(step=4, epoch=1, loss=0.5))
    log.on_epoch(row(1, {"a": 0.25}))
    assert kept.figures == [({"step_loss": 0.5}, 4), ({"epoch": 1.0, "train_loss": 1.0, "recall/a": 0.25}, 4)]


def test_of_many_classes_the_worst_get_a_curve() -> None:
    kept, recall = Kept(), {f"c{k}": (k * 7 % 50) / 50 for k in range(50)}
    LiveLog(kept).on_epoch(row(1, recall))  # type: ignore[arg-type]
    shown = {name.removeprefix("recall/") for name in kept.figures[0][0] if name.startswith("recall/")}
    assert shown == {f"c{k}" for k in range(50) if (k * 7 % 50) < CURVES}


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(folder: Path, step: int) -> Any:
        raise ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met.\nmore")

    monkeypatch.setitem(PROGRAMS, "wandb", missing)  # type: ignore[arg-type]
    config = validate({"source": "x", "train": {"loggers": ["wandb"]}})
    with pytest.raises(
        InputError, match=r"logger wandb needs .* not met.\); install tailgrad\[wandb\], or leave"
    ):
        live_logs(config, RunFolder(tmp_path), 0)


def test_an_unknown_logger_in_a_recipe_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"train.loggers.0 must be .*'mlflow' or 'wandb'.*did you mean 'mlflow'"
    ):
        validate({"source": "x", "train": {"loggers": ["mflow"]}})


def events(folder: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder.path / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


@needs("tensorboard")
def test_tensorboard_has_curves_of_classes_maps_settings_and_final_figures(
    photos: Path, quick: dict[str, Any], tmp_path: Path
) -> None:
    folder = followed(photos, quick, tmp_path / "run", "tensorboard")
    found, result = events(folder), folder.result()
    tags = found.Tags()
    assert {f"recall/{name}" for name in NAMES} <= set(tags["scalars"])
    assert {"conflict/early", "excess/early", "conflict/heldout", "excess/train"} <= set(tags["images"])
    shown = found.Images("conflict/heldout")[0]
    assert shown.width == shown.height == 510, "three classes, 170 pixels a cell"
    final = found.Scalars("test/macro_f1/value")[-1].value
    assert final == pytest.approx(result["test"]["macro_f1"]["value"])
    steps = [event.step for event in found.Scalars("step_loss")]
    assert steps == list(range(1, len(steps) + 1))
    epochs = {event.step: event.value for event in found.Scalars("epoch")}
    assert epochs == {steps[-1] // 2: 1.0, steps[-1]: 2.0}
    assert "hparams" in found.summary_metadata["_hparams_/experiment"].plugin_data.plugin_name


@needs("tensorboard")
def test_tensorboard_forgets_what_a_killed_run_repeats(tmp_path: Path) -> None:
    from tailgrad.recipes.loggers import TensorBoard

    for begin, end, loss in ((0, 7, 1.0), (4, 10, 2.0)):  # killed after step 7, saved after step 4
        log = LiveLog(TensorBoard(tmp_path, begin), begin)
        log.program.begin({})
        for step in range(begin + 1, end + 1):
            log.on_step(StepRecord(step=step, epoch=1, loss=loss))
        log.on_epoch(row(1, {"a": loss / 4}))
    found = events(RunFolder(tmp_path))
    assert [(event.step, event.value) for event in found.Scalars("step_loss")] == [
        *((step, 1.0) for step in range(1, 5)),
        *((step, 2.0) for step in range(5, 11)),
    ]
    assert [(event.step, event.value) for event in found.Scalars("recall/a")] == [(10, 0.5)]


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # of packages below MLflow, among themselves
def test_mlflow_keeps_the_run_in_its_folder(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    folder = followed(photos, quick, tmp_path / "my rün", "mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.path / 'mlflow.db'}")
    run = client.get_run(read_json(folder.path / "mlflow.json")["id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["optim.lr"] == str(folder.config().optim.lr)
    assert run.data.metrics["test/macro_f1/value"] == folder.result()["test"]["macro_f1"]["value"]
    curve = client.get_metric_history(run.info.run_id, "recall/thin")
    assert len({point.step for point in curve}) == 2
    maps = [item.path for item in client.list_artifacts(run.info.run_id, "conflict")]
    assert len([path for path in maps if path.startswith("conflict/heldout.step")]) == 1
    assert list((folder.path / "mlflow").rglob("*.png"))


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # of packages below MLflow, among themselves
def test_every_run_of_a_process_has_its_own_mlflow_unless_the_user_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    from tailgrad.recipes.loggers import MLflow

    def steps_in(uri: str, folder: Path) -> list[int]:
        history = MlflowClient(uri).get_metric_history(read_json(folder / "mlflow.json")["id"], "loss")
        return [point.step for point in history]

    for place, given in (("a", None), ("b", None), ("c", f"sqlite:///{tmp_path / 'all.db'}")):
        folder = tmp_path / place
        folder.mkdir()
        if given is not None:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        program = MLflow(folder, 0)
        program.begin({"a": 1})
        program.log({"loss": 1.0}, 3)
        assert steps_in(given or f"sqlite:///{folder / 'mlflow.db'}", folder) == [3]
        assert (folder / "mlflow.db").exists() == (given is None)


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # of packages below MLflow, among themselves
def test_mlflow_logs_no_step_twice_after_a_kill(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    from tailgrad.recipes.loggers import MLflow

    for begin, end in ((0, 7), (4, 10)):  # killed after step 7, saved after step 4
        log = LiveLog(MLflow(tmp_path, begin), begin)
        log.program.begin({"a": 1})
        for step in range(begin + 1, end + 1):
            log.on_step(StepRecord(step=step, epoch=1, loss=float(step)))
        if end == 10:
            log.on_epoch(row(1, {"a": 0.5}))
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = read_json(tmp_path / "mlflow.json")["id"]
    steps = [(point.step, point.value) for point in client.get_metric_history(run, "step_loss")]
    assert sorted(steps) == [(step, float(step)) for step in range(1, 11)]
    assert [point.step for point in client.get_metric_history(run, "recall/a")] == [10]


@needs("wandb")
@pytest.mark.filterwarnings("ignore")  # of its settings
def test_wandb_stays_offline(
    photos: Path, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = followed(photos, quick, tmp_path / "run", "wandb")
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    kept = file.read_bytes()  # a log of protocol buffers, in which names stand as they are
    assert kept.count(b"recall/thin") >= 2
    assert b"test/macro_f1/value" in kept
    assert b"optim" in kept
    maps = {path.name.split("_")[0] for path in file.parent.rglob("media/images/conflict/*.png")}
    assert maps == {"early", "train", "heldout"}
    assert not [path for path in folder.path.rglob("*") if path.is_symlink()], "such a folder is refused"


def test_no_logger_writes_nothing(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    run = train(
        photos, "quick", overrides=merge(quick, {"interference": {"enabled": False}}), out=tmp_path / "run"
    )
    names = {path.name for path in run.folder.iterdir()}
    assert not names & {"tensorboard", "mlflow.db", "mlflow", "wandb", "wandb.json", "progress.json"}
    recall = [
        line for line in (run.folder / "metrics.jsonl").read_text().splitlines() if "val_recall" in line
    ]
    assert len(recall) == 2


def test_a_heat_image_is_as_red_as_it_is_opposed() -> None:
    from tailgrad.engine.heat_image import SIDE, heat_image

    matrix = np.array([[1.0, -0.5, np.nan], [-0.5, 1.0, 0.0], [np.nan, 0.0, 1.0]])
    pixels = heat_image(matrix).astype(int)
    cell = SIDE // 3
    at = lambda i, j: pixels[i * cell + 1, j * cell + 1]  # noqa: E731 - a place in the picture
    assert at(0, 1)[0] - at(0, 1)[2] > 50, "red"
    assert at(0, 0)[2] - at(0, 0)[0] > 50, "blue"
    assert at(1, 2).tolist() == [247, 247, 247]
    assert at(0, 2).tolist() == [200, 200, 200]
    assert (pixels == pixels.transpose(1, 0, 2)).all()


def test_a_heat_image_of_very_many_classes_keeps_its_means() -> None:
    from tailgrad.engine.heat_image import SIDE, heat_image

    matrix = np.full((1200, 1200), np.nan)
    matrix[:, :600] = 1.0
    pixels = heat_image(matrix)
    assert pixels.shape == (400, 400, 3)
    assert max(pixels.shape) <= SIDE
    assert pixels[:, :200].reshape(-1, 3).max(0).tolist() == [5, 113, 176]
    assert (pixels[:, 200:] == 200).all()
