"""Where the runs of a study go: one after the other here, several at once here, or to a Ray cluster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.recipes.children import Children
from tailgrad.recipes.config import Config
from tailgrad.recipes.crew import crew
from tailgrad.recipes.many_runs import Workers
from tailgrad.recipes.ray_runs import RayTasks
from tailgrad.recipes.talk import Talk

ENGINES = ("local", "ray")


def usual_jobs(engine: str) -> int | str:
    """Runs at once where nobody said how many: a cluster is asked for because there are many.

    Example:
        >>> usual_jobs("local"), usual_jobs("ray")
        (1, 'auto')
    """
    return "auto" if engine == "ray" else 1


@dataclass(frozen=True)
class Spread:
    """How many runs at once, and where.

    Args:
        jobs: a number, or "auto".
        engine: "local" or "ray".
        address: of the Ray cluster, or None.

    Raises:
        InputError: an address without Ray.

    Example:
        >>> Spread(1).is_many, Spread("auto").is_many, Spread(1, "ray").is_many
        (False, True, True)
    """

    jobs: int | str = 1
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.address is not None and self.engine != "ray":
            raise InputError(
                f"address must come with engine=ray, got {self.address!r} with {self.engine!r}; add --engine "
                "ray or leave it out"
            )

    @property
    def is_many(self) -> bool:
        """Whether runs leave this process."""
        return self.jobs != 1 or self.engine == "ray"

    def checked(self, config: Config, own_losses: Mapping[str, Any], talk: Talk) -> "Spread":
        """This spread, or one run at a time where what is to run cannot leave this process.

        Args:
            config: of a run; "python" as its source stands for an object.
            own_losses: classes of the user's own, by method.
            talk: told of it.

        Raises:
            InputError: several jobs were asked for by number, or a cluster; a run is spread over processes
                itself.
        """
        if not self.is_many:
            return self
        self._check_whole(config)
        objects = ["the images, a Python object"] if config.source == "python" else []
        objects += [f"the loss class of {name!r}" for name in own_losses]
        if not objects:
            return self
        if self.engine == "local" and self.jobs == "auto":
            talk(f"one run at a time: {' and '.join(objects)} cannot be handed to another process")
            return replace(self, jobs=1)
        asked = f"jobs={self.jobs}" if self.engine == "local" else "engine=ray"
        raise InputError(
            f"runs of other processes must be told by names and files, got {asked} with "
            f"{' and '.join(objects)}; save the images to a folder or a parquet file, name a loss of "
            "tailgrad, or leave jobs and engine out"
        )

    def _check_whole(self, config: Config) -> None:
        """Several runs at once, or several processes for one: the two would fight for the same devices."""
        started = crew()
        if started.processes > 1 or config.train.devices not in (1, "auto"):
            processes = started.name or f"train.devices={config.train.devices}"
            raise InputError(
                f"runs side by side must have a process each, got jobs={self.jobs}, engine={self.engine} "
                f"with {processes}; leave one of the two out"
            )

    @contextmanager
    def workers(self, study: Path, gpu: bool = True) -> Iterator[Workers]:
        """Whoever does the work, for as long as the block lasts.

        Args:
            study: folder that they must see.
            gpu: whether any run may use one.
        """
        if self.engine == "local":
            yield Children(self.jobs)
            return
        with RayTasks.connected(self.address, self.jobs, study, gpu) as tasks:
            yield tasks
