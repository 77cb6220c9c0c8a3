"""The processes that a launcher started, as their environment tells."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from tailgrad.checks import InputError


class Crew(NamedTuple):
    """The processes of a run, as whoever started them says.

    Args:
        processes: of all machines.
        machines: that they are on.
        name: of what started them; "" for a process by itself.
    """

    processes: int
    machines: int
    name: str


def crew(environment: Mapping[str, str] = os.environ) -> Crew:
    """The processes that ``torchrun`` or ``srun`` started, this one among them.

    Example:
        >>> crew({"WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
        Crew(processes=4, machines=2, name='torchrun')
        >>> crew({"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3"})
        Crew(processes=8, machines=2, name='srun')
        >>> crew({})
        Crew(processes=1, machines=1, name='')
    """
    if {"WORLD_SIZE", "LOCAL_RANK"} <= environment.keys():
        processes = int(environment["WORLD_SIZE"])
        return Crew(processes, processes // int(environment.get("LOCAL_WORLD_SIZE", processes)), "torchrun")
    if "SLURM_PROCID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        processes = int(environment["SLURM_STEP_NUM_TASKS"])
        return Crew(processes, int(environment.get("SLURM_STEP_NUM_NODES", 1)), "srun")
    return Crew(1, 1, "")


def refuse_crew(what: str) -> None:
    """Check that a command which is no single run was started once.

    Raises:
        InputError: ``torchrun`` or ``srun`` started it several times.

    Example:
        >>> refuse_crew("tailgrad compare")
    """
    there = crew()
    if there.processes > 1:
        raise InputError(
            f"{what} must run as one process, got {there.processes} started by {there.name}; start it once "
            "(several runs side by side: --jobs)"
        )
