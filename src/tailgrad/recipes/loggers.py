"""TensorBoard, MLflow and Weights & Biases behind one interface, through Lightning's loggers.

Nothing leaves the machine unless the program's own environment variables say so. MLflow writes into
the run's folder unless ``MLFLOW_TRACKING_URI`` names another place. Weights & Biases is offline unless
``WANDB_MODE`` is "online"; its files go to ``wandb/`` in the working folder or to ``WANDB_DIR``, since it
makes links, which the folder of a run may not hold.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tailgrad.checks import InputError
from tailgrad.engine.heat_image import Pixels
from tailgrad.engine.live_log import LiveLog
from tailgrad.files import write_json
from tailgrad.recipes.config import Config, TrainConfig
from tailgrad.recipes.run_folder import RunFolder, flat, read_json

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
"""A run reports to nobody, and speaks on its own console."""


_OWN_MLFLOW: set[str | None] = set()
"""Places of runs of this process: MLflow puts the last one into the environment, where it is no wish."""


def wanted(train: TrainConfig) -> tuple[str, ...]:
    """Programs to follow a run in, each once.

    Example:
        >>> wanted(TrainConfig(loggers=("wandb",), tensorboard=True))
        ('wandb', 'tensorboard')
    """
    return tuple(dict.fromkeys([*train.loggers, *(["tensorboard"] if train.tensorboard else [])]))


def live_logs(config: Config, folder: RunFolder, step: int) -> list[LiveLog]:
    """One observer for every program that the configuration names, ready to go on after ``step``.

    Raises:
        InputError: the package of one is missing; the extra that brings it is named.

    Example:
        >>> live_logs(Config(source="x"), RunFolder(Path("runs/a")), 0)
        []
    """
    logs = []
    for name in wanted(config.train):
        for key, value in _QUIET.items():
            os.environ.setdefault(key, value)
        try:
            program = PROGRAMS[name](folder.path, step)
        except ModuleNotFoundError as error:
            raise InputError(
                f"logger {name} needs its package, got none ({str(error).splitlines()[0]}); install "
                f"tailgrad[{name}], or leave --logger {name} out"
            ) from error
        program.begin({key: _plain(value) for key, value in flat(config.model_dump(mode="json")).items()})
        logs.append(LiveLog(program, step))
    return logs


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


class TensorBoard:
    """Event files in ``tensorboard/``; what a killed run logged after its last checkpoint is taken back.

    Args:
        folder: of the run.
        step: steps done in earlier sittings.

    Raises:
        ModuleNotFoundError: the package is missing.

    Example: see ``tests/recipes/test_loggers.py``.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from lightning.fabric.loggers.tensorboard import TensorBoardLogger

        purge: dict[str, Any] = {"purge_step": step + 1} if (folder / "tensorboard").exists() else {}
        self.logger = TensorBoardLogger(
            folder, name="tensorboard", version="", default_hp_metric=False, **purge
        )
        self._settings: dict[str, Any] = {}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings: TensorBoard shows them together with the final figures."""
        self._settings = dict(settings)
        self.logger.experiment.flush()  # the file is there from the beginning

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Numbers by name."""
        self.logger.log_metrics(dict(figures), step=step)

    def show(self, name: str, pixels: Pixels, step: int) -> None:
        """A picture."""
        self.logger.experiment.add_image(name, pixels, step, dataformats="HWC")

    def save(self) -> None:
        """Write what waits."""
        self.logger.save()

    def end(self, figures: Mapping[str, float]) -> None:
        """Settings and final figures, in the view of hyperparameters."""
        self.logger.log_hyperparams(self._settings, dict(figures))
        self.logger.finalize("success")


class MLflow:
    """A run of the experiment "tailgrad", gone on with when the run is; by default in ``mlflow.db``.

    MLflow takes nothing back: where a killed run goes on, steps that it logged after its last checkpoint are
    not logged again.

    Args:
        folder: of the run.
        step: steps done in earlier sittings.

    Raises:
        ModuleNotFoundError: the package is missing.

    Example: see ``tests/recipes/test_loggers.py``.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from lightning.pytorch.loggers.mlflow import MLFlowLogger

        given, place = os.environ.get("MLFLOW_TRACKING_URI"), folder.resolve()
        own = not given or given in _OWN_MLFLOW
        uri = f"sqlite:///{place / 'mlflow.db'}" if own else given
        _OWN_MLFLOW.update([uri] if own else [])
        self._ids, self._known = folder / "mlflow.json", _id_in(folder / "mlflow.json") if step else None
        self.logger = MLFlowLogger(
            experiment_name="tailgrad",
            run_name=folder.name,
            run_id=self._known,
            tracking_uri=uri,
            artifact_location=(place / "mlflow").as_uri() if own else None,
        )
        self._last: dict[str, int] = {}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Settings as parameters, which MLflow takes once."""
        if self._known is None:
            self.logger.log_hyperparams(dict(settings))
            write_json(self._ids, {"id": self.logger.run_id})

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Numbers by name; MLflow takes few characters in a name."""
        new = {_tame(name): value for name, value in figures.items()}
        self.logger.log_metrics(
            {name: one for name, one in new.items() if step > self._logged(name)}, step=step
        )

    def _logged(self, name: str) -> int:
        """The last step at which the run had this figure before it was gone on with."""
        if self._known is None:
            return -1
        if name not in self._last:
            history = self.logger.experiment.get_metric_history(self._known, name)
            self._last[name] = max((point.step for point in history), default=-1)
        return self._last[name]

    def show(self, name: str, pixels: Pixels, step: int) -> None:
        """A picture, as an artifact."""
        picture, client = Image.fromarray(pixels), self.logger.experiment
        client.log_image(self.logger.run_id, picture, artifact_file=f"{name}.step{step}.png")

    def save(self) -> None:
        """Nothing waits."""

    def end(self, figures: Mapping[str, float]) -> None:  # noqa: ARG002 - they are logged already
        """Mark the run as finished."""
        self.logger.finalize("success")


class WeightsAndBiases:
    """A run of the project "tailgrad", offline unless ``WANDB_MODE`` is "online"; ``wandb sync`` sends it.

    Args:
        folder: of the run.
        step: steps done in earlier sittings.

    Raises:
        ModuleNotFoundError: the package is missing.

    Example: see ``tests/recipes/test_loggers.py``.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from lightning.pytorch.loggers.wandb import WandbLogger

        self._ids, known = folder / "wandb.json", _id_in(folder / "wandb.json") if step else None
        self.logger = WandbLogger(
            name=folder.name,
            id=known,
            project=os.environ.get("WANDB_PROJECT", "tailgrad"),
            offline=os.environ.get("WANDB_MODE", "offline") != "online",
        )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Settings as the run's configuration."""
        self.logger.log_hyperparams(dict(settings))
        write_json(self._ids, {"id": self.logger.experiment.id})

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Numbers by name."""
        self.logger.log_metrics(dict(figures), step=step)

    def show(self, name: str, pixels: Pixels, step: int) -> None:
        """A picture."""
        self.logger.log_image(name, [Image.fromarray(pixels)], step=step)

    def save(self) -> None:
        """The program saves by itself."""

    def end(self, figures: Mapping[str, float]) -> None:
        """Final figures as the summary of the run, and its end."""
        run = self.logger.experiment
        run.summary.update(dict(figures))
        self.logger.finalize("success")
        run.finish()


PROGRAMS: Mapping[str, type[TensorBoard] | type[MLflow] | type[WeightsAndBiases]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def _id_in(path: Path) -> str | None:
    """What an earlier sitting was called."""
    try:
        return str(read_json(path)["id"])
    except (InputError, KeyError, TypeError):
        return None


def _tame(name: str) -> str:
    r"""A name of a figure with an underscore for every character that MLflow refuses.

    Example:
        >>> _tame("recall/Größe (cm)")
        'recall/Gr__e _cm_'
    """
    return re.sub("[^a-zA-Z0-9_/. -]", "_", name)
