"""A run on disk: where each file is, and when a folder may be written to."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from tailgrad.checks import InputError
from tailgrad.files import clear_partial, write_json, write_text
from tailgrad.recipes.compose import validate
from tailgrad.recipes.config import Config
from tailgrad.recipes.folder_lock import holds_files
from tailgrad.recipes.own_code import CODE, OWN
from tailgrad.untrusted import json_text, parse_json, parse_yaml, yaml_text

REPORTED = ("tailgrad", "torch", "torchvision", "timm", "lightning", "numpy", "scikit-learn", "scipy")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Args:
        path: the folder.

    Example:
        >>> RunFolder(Path("runs/a")).weights.as_posix()
        'runs/a/checkpoint/weights.safetensors'
    """

    path: Path

    @property
    def weights(self) -> Path:
        """Weights of the best epoch, those after the last stage where there are stages."""
        final = self.path / "checkpoint" / "final.safetensors"
        return final if final.exists() else final.with_name("weights.safetensors")

    @property
    def result_file(self) -> Path:
        """The result; it exists once the run is finished."""
        return self.path / "result.json"

    @property
    def is_run(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "config.yaml").is_file() and (self.path / "environment.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return self.result_file.exists()

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end, and what it said of every image is still there."""
        return self._ended and (self.path / "predictions.parquet").is_file()

    @property
    def bereft(self) -> bool:
        """Whether the run has come to its end and has lost its predictions since."""
        return self._ended and not self.complete

    @property
    def _ended(self) -> bool:
        return self.finished and self.result().get("status") == "finished"

    def result(self) -> dict[str, Any]:
        """The result of a finished run.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        if self.is_run and not self.finished:
            raise InputError(f"run must be finished, got {self.path} without a result; finish it by --resume")
        return read_json(self.result_file, "restore it, or remove it and go on with --resume")

    def config(self) -> Config:
        """The configuration that the run was started with.

        Raises:
            InputError: the folder is not a run, or its configuration cannot be read.
        """
        path = self.path / "config.yaml"
        if not path.is_file():
            raise InputError(
                f"run must be the folder of a run, got {self.path} without config.yaml; check the path"
            )
        try:
            return validate(parse_yaml(yaml_text(path)))
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"{path} must be a readable configuration, got {error}; restore it") from error

    def check_same(self, config: Config) -> Config:
        """The configuration that the run was started with, which has to be this one.

        Raises:
            InputError: it is another, or cannot be read.
        """
        before = self.config()
        _check_same(before, config, self.path)
        return before

    def start(self, config: Config, *, resume: bool) -> Config:
        """Claim the folder: a new one, or on ``resume`` the same run's; returns the configuration to use.

        A resumed run keeps what it settled on where ``auto`` was asked for.

        Raises:
            InputError: it exists and ``resume`` is off, holds another configuration, or cannot be written.
        """
        if self.path.exists() and (not self.path.is_dir() or not os.access(self.path, os.R_OK | os.X_OK)):
            raise InputError(
                f"run folder must be a readable folder, got {self.path}; choose another with --out"
            )
        if self.path.exists() and holds_files(self.path):
            if not resume:
                raise InputError(
                    f"run folder must be new, got {self.path}, which holds files; choose another with --out, "
                    "or add --resume to go on with it"
                )
            config = with_settled(config, settled(self.check_same(config)))
        else:
            write_text(self.path / "config.yaml", config_text(config))
        clear_partial(self.path)
        if not (self.path / "environment.json").exists():  # a run may have been killed before it wrote it
            write_json(self.path / "environment.json", environment())
        return config


def config_text(config: Config) -> str:
    """The configuration as YAML.

    Example:
        >>> config_text(Config(source="digits-lt")).splitlines()[0]
        'source: digits-lt'
    """
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


SETTLED = {
    "precision": "train",
    "channels_last": "train",
    "compile": "train",
    "fused": "train",
    "threads": "train",
    "pretrained": "model",
}
"""Keys that may be ``auto``, with their sections: what they came to is written down and kept."""


def settled(config: Config) -> dict[str, Any]:
    """What the keys that may be ``auto`` stand at.

    Example:
        >>> settled(Config(source="x"))["precision"]
        'auto'
    """
    return {key: getattr(getattr(config, section), key) for key, section in SETTLED.items()}


def with_settled(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with those keys set.

    Example:
        >>> with_settled(Config(source="x"), {"precision": "float32"}).train.precision
        'float32'
    """
    for key, value in values.items():
        section = SETTLED[key]
        changed = getattr(config, section).model_copy(update={key: value})
        config = config.model_copy(update={section: changed})
    return config


def read_json(path: Path, remedy: str = "restore it") -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        path: of the file.
        remedy: what to do about one that is damaged.

    Raises:
        InputError: it is missing or is not one.

    Example:
        >>> read_json(Path("missing.json"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: missing.json must be a readable JSON object, got [Errno 2] ...
    """
    try:
        content = parse_json(json_text(path))
    except (OSError, ValueError) as error:
        what = "finish the run first" if isinstance(error, FileNotFoundError) else remedy
        raise InputError(f"{path} must be a readable JSON object, got {error}; {what}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}; {remedy}")
    return content


def environment() -> dict[str, Any]:
    """Versions and hardware, for the record.

    Example:
        >>> environment()["tailgrad"].count(".") >= 2
        True
    """
    import torch  # everything else here is wanted without its second of loading

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        **{name: version(name) for name in REPORTED},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": gpu,
        "command": shlex.join(Path(word).name if i == 0 else word for i, word in enumerate(sys.argv)),
    }


FREE_KEYS = (
    "train.max_minutes",
    "interference.minutes",
    "train.device",
    "train.devices",
    "train.loggers",
    "train.tensorboard",
    "train.save_minutes",
    "train.log_every",
    "data.resident",
    "data.resident_gb",
    "data.workers",
    "data.prefetch",
    "reliability.alpha",
    "reliability.score",
    "reliability.answered",
    "report.images",
)
"""Keys that may change between two sittings of a run, since they change no training."""


def _check_same(before: Config, now: Config, path: Path) -> None:
    a, b = flat(before.model_dump(mode="json")), flat(now.model_dump(mode="json"))
    for key in a:
        was_auto = key.rpartition(".")[2] in SETTLED and b[key] == "auto"
        if key == "loss.options" and _is_other_code(a[key], b[key]):
            raise InputError(
                f"the code of loss {now.loss.name.removeprefix(OWN)} must stay as the run in {path} was "
                "started, got code that differs: what is there was trained with the code before; use "
                f"another --out, or remove {path} to train it again"
            )
        if a[key] != b.get(key) and key not in FREE_KEYS and not was_auto:
            raise InputError(
                f"{key} must stay as the run in {path} was started, with {a[key]!r}, got {b.get(key)!r}; "
                "use another --out for another configuration"
            )


def _is_other_code(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether nothing but the code of a loss of the user's own differs."""
    return before != now and CODE in now and {**before, CODE: ""} == {**now, CODE: ""}


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one mapping with dotted keys; free options stay together.

    Example:
        >>> flat({"optim": {"lr": 0.1}, "seed": 3})
        {'optim.lr': 0.1, 'seed': 3}
    """
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value and key != "options":
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def differing_keys(configs: list[Config]) -> list[str]:
    """Keys in which configurations differ.

    Example:
        >>> differing_keys([Config(source="x"), Config(source="x", seed=1)])
        ['seed']
    """
    flats = [flat(config.model_dump(mode="json")) for config in configs]
    return [key for key in flats[0] if any(flat.get(key) != flats[0][key] for flat in flats)]
