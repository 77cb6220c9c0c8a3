"""One choice of precision, memory layout and threads for all groups of a study with the same network."""

from collections.abc import Iterable
from pathlib import Path

from tailgrad.files import write_json
from tailgrad.recipes.config import Config
from tailgrad.recipes.run_folder import RunFolder, read_json, settled

_FILE = "speed.json"


def share_speed(folder: Path, group: str, config: Config, others: Iterable[str]) -> None:
    """Let a group that begins take over what another one with the same network has settled.

    What a trial of speed comes to changes numbers, and claims compare groups with one another. A group that
    was begun before, or asks for another choice by name, keeps its own.

    Args:
        folder: of the study.
        group: that is about to begin.
        config: of its first method.
        others: groups of the study, the one that is asked first in front.

    Raises:
        InputError: what another group has settled is damaged.

    Example:
        >>> share_speed(Path("missing"), "mine", Config(source="x"), ["other"])
    """
    place = folder / group
    if place.exists():
        return
    for other in others:
        if other != group and _is_same(folder / other, config):
            write_json(place / _FILE, read_json(folder / other / _FILE))
            return


def _is_same(other: Path, config: Config) -> bool:
    """Whether a group has settled what this configuration may take, on the same network."""
    began = sorted(path.parent for path in (other / "runs").glob("*/config.yaml"))
    if not began or not (other / _FILE).is_file():
        return False
    network, found = RunFolder(began[0]).config().model, read_json(other / _FILE)
    wanted = settled(config)
    fits = all(value in ("auto", found.get(key, value)) for key, value in wanted.items())
    return fits and (network.name, network.options) == (config.model.name, config.model.options)
