"""How a network for tables steps: in float32, uncompiled, since its steps are too small to gain."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tailgrad.engine.trial import time_steps
from tailgrad.models.column_vectors import example_row
from tailgrad.recipes.assemble import device_of
from tailgrad.recipes.config import Config
from tailgrad.recipes.settled_speed import Speed


def takes_rows(model: nn.Module) -> bool:
    """Whether a network takes rows of a table.

    Example:
        >>> takes_rows(nn.Identity())
        False
    """
    return getattr(getattr(model, "backbone", None), "takes", "images") == "table"


def settle_rows(config: Config, model: nn.Module, columns: tuple[int, int], rows_there: int | None) -> Speed:
    """What is ``auto`` of a run on a table, and the seconds of a step: a forward and a backward pass.

    Args:
        config: batch size, and what is asked for by name.
        model: a network for tables; it is copied.
        columns: numeric ones and those of categories.
        rows_there: number of training rows.

    Example:
        >>> from tailgrad.models import create_model
        >>> mlp = create_model("mlp", 2, backbone_options={"numbers": 3})
        >>> settle_rows(Config(source="x"), mlp, (3, 0), 10).keys["precision"]
        'float32'
    """
    wanted = config.train
    device, trained = device_of(wanted.device), copy.deepcopy(model).train()
    n = max(2, min(wanted.batch_size, rows_there or wanted.batch_size))
    rows = example_row(*columns)[torch.zeros(n, dtype=torch.int64)].to(device)
    target = torch.zeros(n, dtype=torch.int64, device=device)
    trained = trained.to(device)

    def step() -> None:
        F.cross_entropy(trained(rows).flatten(1), target).backward()  # type: ignore[no-untyped-call]  # missing in torch's stubs

    with torch.random.fork_rng(devices=[]):
        seconds = time_steps(step)
    keys: dict[str, Any] = {
        "precision": "float32" if wanted.precision == "auto" else wanted.precision,
        "channels_last": False,
        "compile": "off",
        "fused": wanted.fused is True,
        "threads": torch.get_num_threads() if wanted.threads == "auto" else wanted.threads,
    }
    return Speed(keys, seconds)
