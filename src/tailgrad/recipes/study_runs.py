"""The runs of one study: data prepared once a split, speed measured once, one split a seed."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.engine import Interrupted
from tailgrad.files import write_json, write_with
from tailgrad.recipes.assemble import make_model, settle_pretrained
from tailgrad.recipes.compose import validate
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import run_name
from tailgrad.recipes.copies import duplicates_of
from tailgrad.recipes.own_loss import MakeLoss
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.run_config import run_config
from tailgrad.recipes.run_folder import SETTLED, RunFolder, read_json, settled, with_settled
from tailgrad.recipes.same_split import check_split, split_of
from tailgrad.recipes.speed import settle
from tailgrad.recipes.talk import Talk
from tailgrad.recipes.thinning import split_seed
from tailgrad.untrusted import of_shape


class StudyRuns:
    """Trains what is missing of a study and gives every run's result.

    Args:
        folder: of the study.
        opened: its source.
        talk: who listens.
        own_losses: loss classes of the user's own, by method.
        shared: file of the duplicate groups where several processes share one search for them.

    Example: see ``recipes.compare``.
    """

    def __init__(
        self,
        folder: Path,
        opened: Source,
        talk: Talk,
        own_losses: Mapping[str, MakeLoss],
        shared: Path | None = None,
    ) -> None:
        self.path, self.opened, self.talk, self.own_losses = folder, opened, talk, own_losses
        self._shared = shared
        self._began = time.monotonic()
        self._groups: NDArray[np.int64] | None = None
        self._ready: tuple[Any, Prepared] | None = None
        self._hashes: dict[Any, tuple[str, Path]] = {}

    def folder(self, config: Config) -> RunFolder:
        """Where a run of the study is."""
        return RunFolder(self.path / "runs" / run_name(self.opened, config))

    def begin(self, pending: Sequence[Config]) -> None:
        """Look after what is no single run's, before any is trained: the data, and what the study settles.

        Raises:
            InputError: the data cannot be had or are others than before, or a run was begun with another
                configuration.
        """
        for config in pending:
            if self.folder(config).is_run:
                self.folder(config).check_same(config)
        for config in pending[:1]:
            ready = self._prepared(config)
            if (self.folder(config).path / "split.json").exists():
                check_split(self.folder(config), ready)
            self._settled(config, ready)

    def result(self, config: Config) -> dict[str, Any]:
        """The result of a run, trained now unless it is finished.

        Raises:
            InputError: the run cannot be had, or does not share its split with the other methods.
            Interrupted: the time was used up.
        """
        folder = self.folder(config)
        if self.finished(config):
            folder.start(config, resume=True)
        else:
            self.train(config)
        self._same_split(config, folder)
        return folder.result()

    def finished(self, config: Config) -> bool:
        """Whether a run has come to its end and has all that a comparison reads."""
        return self.folder(config).complete

    def settle(self, config: Config) -> Config:
        """The configuration with what the study settles once for all its runs: now, or before.

        Either way this process has made a few steps then, and knows what memory they take.
        """
        ready, before = self._prepared(config), self._speed.exists()
        found = self._settled(config, ready)
        if before:
            classes, images = ready.classes.num_classes, len(ready.split.train)
            settle(found, make_model(found, classes, columns=ready.columns), ready.size, images)
        return found

    def train(self, config: Config) -> None:
        """Train a run, or what is left of it.

        Raises:
            InputError: the run cannot be had.
            Diverged: its loss is not finite.
            Interrupted: the time was used up.
        """
        folder, ready = self.folder(config), self._prepared(config)
        with suppress(OSError):
            (folder.path / "failure.json").unlink()  # of a sitting before
        run = run_config(
            self.within_time(self._settled(config, ready)),
            folder,
            prepared=ready,
            resume=folder.path.exists(),
            talk=self.talk,
            own_loss=self.own_losses.get(config.method),
        )
        if run.result["status"] != "finished":
            raise Interrupted(f"the time was used up in {folder.path}; what is finished is kept")

    def _split_key(self, config: Config) -> tuple[Any, ...]:
        return split_seed(config, "test" in self.opened.given), config.data

    def _prepared(self, config: Config) -> Prepared:
        key = (*self._split_key(config), config.model.name)
        if self._ready is None or self._ready[0] != key:
            if self._groups is None:
                self._groups = self._duplicates(config)
            self._ready = key, prepare(config, self.opened, self.talk, self._groups)
        return self._ready[1]

    def _duplicates(self, config: Config) -> NDArray[np.int64]:
        if self._shared is not None and self._shared.exists():
            return _load(self._shared, len(self.opened.items))
        groups = duplicates_of(self.opened, config, self.talk)
        if self._shared is not None:
            write_with(self._shared, lambda partial: _save(partial, groups))
        return groups

    def _settled(self, config: Config, ready: Prepared) -> Config:
        path = self._speed
        if not path.exists():
            found: dict[str, Any] = {
                "pretrained": settle_pretrained(config, ready.classes.num_classes, self.talk)
            }
            model = make_model(with_settled(config, found), ready.classes.num_classes, columns=ready.columns)
            found |= settle(config, model, ready.size, len(ready.split.train), self.talk).keys
            write_json(path, found)
        with of_shape(path, "remove it"):
            found = read_json(path, "remove it")
            _check_as_before(config, found, path)
            return validate(with_settled(config, found).model_dump())

    @property
    def _speed(self) -> Path:
        return self.path / "speed.json"

    def within_time(self, config: Config) -> Config:
        """The configuration with what is left of the study's time as the limit of a run.

        Raises:
            Interrupted: nothing is left.
        """
        if config.train.max_minutes is None:
            return config
        left = config.train.max_minutes - (time.monotonic() - self._began) / 60
        if left <= 0:
            raise Interrupted(f"the time was used up in {self.path}; what is finished is kept")
        return config.model_copy(update={"train": config.train.model_copy(update={"max_minutes": left})})

    def _same_split(self, config: Config, folder: RunFolder) -> None:
        found = split_of(folder)
        first, where = self._hashes.setdefault(self._split_key(config), (found, folder.path))
        if found != first:
            raise InputError(
                f"methods must share their split, got sha256 {first[:12]} in {where} and {found[:12]} in "
                f"{folder.path}: the data changed in between; begin anew with another --out"
            )


def _check_as_before(config: Config, before: Mapping[str, Any], path: Path) -> None:
    """What is asked for by name must be what the study has: all its runs are to share it."""
    for key, value in settled(config).items():
        if value != "auto" and value != before.get(key, value):
            raise InputError(
                f"{SETTLED[key]}.{key} must stay as the study in {path.parent} settled it, with "
                f"{before[key]!r}, got {value!r}; leave it out, or use another --out"
            )


def _save(path: Path, groups: NDArray[np.int64]) -> None:
    with path.open("wb") as file:
        np.save(file, groups, allow_pickle=False)


def _load(path: Path, items: int) -> NDArray[np.int64]:
    try:
        groups = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} must be a readable array, got {error}; repeat the command") from error
    if groups.shape != (items,) or groups.dtype != np.int64:
        raise InputError(
            f"{path} must hold one group for each of {items} images, got {groups.dtype} {groups.shape}: the "
            "data changed while the study ran; restore them"
        )
    return np.asarray(groups, dtype=np.int64)
