"""Interference of a trained run, or of any named network on a source."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from tailgrad.augment import Normalize
from tailgrad.checks import InputError, one_of
from tailgrad.engine import load_weights
from tailgrad.interference import Extras, Interference, measure
from tailgrad.models import check_map
from tailgrad.recipes.assemble import class_weights_of, device_of, make_loss, make_model, normalizer
from tailgrad.recipes.compose import merge, validate
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import configure
from tailgrad.recipes.own_code import OWN
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.restore import check_classes, load_state, restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.same_split import check_split
from tailgrad.recipes.several_labels import refuse_several_labels
from tailgrad.recipes.talk import Talk
from tailgrad.recipes.waiting import counting, each

PARTS = ("train", "val", "test", "heldout")
BATCH = 256


def diagnose(
    run_or_source: Any,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    part: str = "heldout",
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    source: Any = None,
    console: Console | None = None,
) -> Interference:
    """Measure which classes interfere in a network.

    Args:
        run_or_source: folder of a run (its own network and data), or a source of images with ``model``.
        model: name of a backbone for a source, such as ``timm/resnet18`` or ``tripath``.
        weights: safetensors file for that network; without it the weights are random.
        part: "train", "val", "test", or "heldout" (validation and test).
        overrides: nested configuration laid on top (``interference.parameters``, ``data.size``, ...).
        out: where to save the result (arrays ``.npz`` and ``.json`` of this name).
        source: the data of a run that was trained on a Python object.
        console: where to say what happens; None is silent.

    Raises:
        InputError: anything about the input is wrong, or a run's data have changed since it was trained.

    Example:
        >>> result = diagnose("digits-lt", model="resnet32",
        ...     overrides={"interference": {"max_per_class": 2}, "data": {"near_duplicates": False}})
        >>> result.conflict.shape
        (10, 10)
    """
    one_of("part", part, PARTS)
    talk = Talk(console)
    is_run = isinstance(run_or_source, str | Path) and RunFolder(Path(run_or_source)).is_run
    if is_run:
        _refuse_for_run(run_or_source, model, weights)
        network, ready, normalize, config = _of_run(run_or_source, source, overrides or {}, talk)
    else:
        network, ready, normalize, config = _of_source(run_or_source, model, weights, overrides or {}, talk)
    refuse_several_labels(
        ready.source, "diagnose", "its label gradients are in interference/, or use measure_labels in Python"
    )
    device = device_of(config.train.device)
    parts = ("val", "test") if part == "heldout" else (part,)
    with counting(console, "measuring class gradients") as progress:
        batches = each(ready.mixed(parts, BATCH), progress)
        result = measure(
            network.to(device),
            ((normalize(batch.inputs.to(device)), batch.target.to(device)) for batch in batches),
            parameters=config.interference.parameters,
            max_per_class=config.interference.max_per_class,
            folds=config.interference.folds,
            class_names=ready.classes.names,
            extras=_extras(config, ready, network, is_run),
        )
    if out is not None:
        result.save(Path(out))
    return result


def _extras(config: Config, ready: Prepared, network: Any, is_run: bool) -> Extras:
    known = is_run and not config.loss.name.startswith(OWN)  # code of the user's own is not in the folder
    weights = class_weights_of(make_loss(config, ready.classes, model=network)) if known else None
    return Extras(train_counts=ready.classes.counts, class_weights=weights)


def _pairs(
    ready: Prepared, parts: tuple[str, ...], normalize: Normalize, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in ready.mixed(parts, BATCH):
        yield normalize(batch.inputs.to(device)), batch.target.to(device)


def _refuse_for_run(run: Any, model: Any, weights: Any) -> None:
    if model is not None or weights is not None:
        raise InputError(
            f"model and weights are for a source, got {model or weights} for the run {run}, which has "
            "its own; leave them out"
        )


def _of_run(run: Any, source: Any, overrides: Mapping[str, Any], talk: Talk) -> Any:
    folder = RunFolder(Path(run))
    config = validate(merge(folder.config().model_dump(), overrides))
    if config.source == "python" and source is None:
        raise InputError(f"source must be given for {run}, got None: the run was trained on a Python object")
    restored = restore(run)
    ready = prepare(config, source, talk)
    check_classes(restored.names, ready.classes.names, str(run))
    check_split(folder, ready)
    return restored.model, ready, restored.normalize, config


def _of_source(source: Any, model: str | None, weights: Any, overrides: Mapping[str, Any], talk: Talk) -> Any:
    named = {} if model is None else {"model": {"name": model}}
    config, opened = configure(source, overrides=merge(named, overrides))
    ready = prepare(config, opened, talk)
    network = make_model(config, ready.classes.num_classes, talk, ready.columns)
    if ready.encoding is None:
        talk.warn_of(lambda: check_map(network, ready.size))
    if weights is not None:
        tensors, meta = load_weights(Path(weights))
        if "classes" in meta:
            check_classes(meta["classes"]["names"], ready.classes.names, str(weights))
        load_state(network, tensors, str(weights))
        return network, ready, normalizer(network, ready.normalize), config
    normalize = normalizer(network, ready.normalize)
    talk(f"{config.model.name} with random weights: what follows is about the architecture and the data")
    if settle_batch_norm(network, _pairs(ready, ("train",), normalize, torch.device("cpu"))):
        talk("its batch-norm statistics, which start at 0 and 1, were set from training images")
    return network, ready, normalize, config


def settle_batch_norm(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], most: int = 4) -> bool:
    """Set the running statistics of batch norms to those of some batches; whether there are any.

    An untrained network in evaluation mode normalises by mean 0 and variance 1, which saturates deep ones.

    Args:
        network: its statistics change, nothing else.
        batches: (inputs, target); the first ``most`` are used.
        most: number of batches.

    Example:
        >>> settle_batch_norm(nn.Linear(2, 2), [])
        False
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return False
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain average over the batches
        norm.train()
    with torch.no_grad():
        for inputs, _ in islice(batches, most):
            network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
    return True
