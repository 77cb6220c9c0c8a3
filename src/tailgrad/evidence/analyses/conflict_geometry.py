"""What methods do to the conflict of class gradients: at one network, and at the networks they train."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.interference import Interference, measure
from tailgrad.interference.criterion import Criterion
from tailgrad.interference.gram import Array
from tailgrad.losses import CrossEntropyLoss, FocalLoss
from tailgrad.models import Classifier
from tailgrad.recipes.assemble import make_model
from tailgrad.recipes.config import Config, NamedConfig
from tailgrad.recipes.diagnose import settle_batch_norm
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.restore import restore
from tailgrad.recipes.run_folder import RunFolder

BATCH = 256
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def analyse(lab: Lab) -> Analysis:
    """Movement of the conflict matrix at one network, and of its excess over the null after training.

    Settings: ``against`` (the method that others are held against), ``max_per_class`` (examples for the
    measurements at one network).
    """
    runs = lab.runs("runs")
    first = str(lab.settings["against"])
    lab.expect(len(runs[first]))
    fixed = [_at_one_network(lab, run) for run in runs[first]]
    trained = {name: [_excess(run) for run in found] for name, found in runs.items()}
    figures = _fixed_figures(fixed) | _trained_figures(trained, first)
    return Analysis(figures, [_fixed_table(fixed), _trained_table(trained, first)])


def _at_one_network(lab: Lab, run: RunFolder) -> dict[str, Any]:
    most = int(lab.settings["max_per_class"])
    return lab.cell(f"fixed.{run.path.name}", lambda: _fixed(run, most))


def _fixed(run: RunFolder, most: int) -> dict[str, Any]:
    """Mean absolute movement of the cosines: by losses at the trained network, by heads before training."""
    config = run.config()
    ready, restored = prepare(config), restore(run.path)
    batches = _batches(ready, restored.normalize)
    plain = _conflict(restored.model, batches, most)
    by_loss = {
        name: moved(_conflict(restored.model, batches, most, criterion), plain)
        for name, criterion in criteria(ready.classes.counts).items()
    }
    return {"loss": by_loss, "head": _by_head(config, ready, batches, most)}


def _by_head(config: Config, ready: Prepared, batches: Batches, most: int) -> dict[str, float]:
    """Movement from the baseline's head to others on one untrained backbone."""
    untrained = {
        name: _untrained(config, head, seed, ready.classes.num_classes)
        for name, (head, seed) in _heads(config.seed).items()
    }
    found = {}
    for name, network in untrained.items():
        _share_backbone(untrained["baseline"], network)
        settle_batch_norm(network, batches())
        found[name] = _conflict(network.eval(), batches, most)
    return {name: moved(found[name], found["baseline"]) for name in ("redrawn", "csba")}


def _batches(ready: Prepared, normalize: Callable[[Tensor], Tensor]) -> Batches:
    """Held-out batches, readable again and again."""

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in ready.mixed(("val", "test"), BATCH):
            # Restored networks are on the CPU, images may live on a GPU.
            yield normalize(batch.inputs.cpu()), batch.target.cpu()

    return read


def criteria(counts: Sequence[int]) -> dict[str, Criterion]:
    """Losses that are said to change no more than the size of gradients, one number an example."""
    return {
        "class weights": CrossEntropyLoss(counts, weights="inverse", reduction="none"),
        "focal": FocalLoss(counts, gamma=2.0, reduction="none"),
    }


def _heads(seed: int) -> dict[str, tuple[str, int]]:
    """Head and seed of each untrained network; the second draw of the baseline shows what chance does."""
    return {"baseline": ("baseline", seed), "redrawn": ("baseline", seed + 1000), "csba": ("csba", seed)}


def _untrained(config: Config, head: str, seed: int, num_classes: int) -> Classifier:
    return make_model(config.model_copy(update={"head": NamedConfig(name=head), "seed": seed}), num_classes)


def _share_backbone(given: Classifier, taker: Classifier) -> None:
    backbone: nn.Module = taker.backbone  # type: ignore[assignment]  # a protocol of modules
    backbone.load_state_dict(given.backbone.state_dict())  # type: ignore[attr-defined]  # the same


def _conflict(network: nn.Module, batches: Batches, most: int, criterion: Criterion | None = None) -> Array:
    found: Interference = measure(
        network, batches(), "backbone", criterion=criterion, folds=0, max_per_class=most
    )
    return found.conflict


def moved(one: Array, other: Array) -> float:
    """Mean absolute difference of two matrices off the diagonal, over pairs that both know.

    Example:
        >>> moved(np.array([[1.0, 0.2], [0.2, 1.0]]), np.eye(2))
        0.2
    """
    pairs = ~np.eye(len(one), dtype=bool)
    return float(np.nanmean(np.abs(one - other)[pairs]))


def _excess(run: RunFolder) -> Array:
    return Interference.load(run.path / "interference" / "heldout.json").excess


def _mean(excess: Array) -> float:
    return float(np.nanmean(excess[~np.eye(len(excess), dtype=bool)]))


def _fixed_figures(fixed: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Figure]:
    by_head = [cell["head"]["csba"] - cell["head"]["redrawn"] for cell in fixed]
    what = "movement of conflict at one network, mean |difference of cosines|"
    return {
        "fixed.class_weights": Figure.over([c["loss"]["class weights"] for c in fixed], what=what),
        "fixed.focal": Figure.over([c["loss"]["focal"] for c in fixed], what=what),
        "fixed.csba_beyond_redraw": Figure.over(
            by_head, what="movement by CSBA's head minus that by another draw of the same head, untrained"
        ),
    }


def _another_seed(runs: Sequence[Array]) -> list[Array]:
    """For the run of every seed that of the next."""
    return [*runs[1:], *runs[:1]]


def _trained_figures(trained: Mapping[str, Sequence[Array]], first: str) -> dict[str, Figure]:
    """Against the method ``first``, seed by seed; its own movement from seed to seed is taken off.

    Both distances are to another seed's run of ``first``: one of the same seed begins alike, so that a method
    which changes nothing would seem to move less than another seed does.
    """
    usual = trained[first]
    other = _another_seed(usual)
    noise = [moved(a, b) for a, b in zip(usual, other, strict=True)]
    figures = {}
    for name, found in trained.items():
        if name == first:
            continue
        shift = [moved(a, b) - n for a, b, n in zip(found, other, noise, strict=True)]
        less = [_mean(a) - _mean(b) for a, b in zip(found, usual, strict=True)]
        figures[f"moved.{name}"] = Figure.over(
            shift, what=f"movement of excess conflict from {first}, beyond that between seeds"
        )
        figures[f"excess.{name}"] = Figure.over(less, what=f"mean excess conflict minus that of {first}")
    for name in trained:
        if "csba" in trained and name not in ("csba", first):
            further = np.subtract(figures["moved.csba"].values, figures[f"moved.{name}"].values).tolist()
            figures[f"moved_over.{name}"] = Figure.over(
                further, what=f"movement of excess conflict by CSBA minus that by {name}"
            )
            over = [_mean(a) - _mean(b) for a, b in zip(trained["csba"], trained[name], strict=True)]
            figures[f"csba_over.{name}"] = Figure.over(over, what=f"mean excess of CSBA minus that of {name}")
    return figures


def _fixed_table(fixed: Sequence[Mapping[str, Mapping[str, float]]]) -> Table:
    rows = [
        (kind, name, f"{np.mean([cell[kind][name] for cell in fixed]):.4f}")
        for kind in ("loss", "head")
        for name in fixed[0][kind]
    ]
    note = "Losses against cross-entropy at trained networks; heads against the baseline's, before training."
    return Table(
        "Movement of class conflict at one network", ("by", "what", "mean |difference|"), tuple(rows), note
    )


def _trained_table(trained: Mapping[str, Sequence[Array]], first: str) -> Table:
    other = _another_seed(trained[first])
    rows = [
        (
            name,
            f"{np.mean([_mean(excess) for excess in found]):+.3f}",
            f"{np.mean([moved(a, b) for a, b in zip(found, other, strict=True)]):.3f}",
        )
        for name, found in trained.items()
    ]
    note = "Held-out data, backbone, means over seeds; above 0 classes agree more than chance explains."
    header = ("method", "mean excess", f"distance from another seed of {first}")
    return Table("Excess conflict after training", header, tuple(rows), note)
