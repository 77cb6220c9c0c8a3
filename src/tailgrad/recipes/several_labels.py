"""Several labels an image: which components fit, and what is checked, scored and told."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.data.source import Source
from tailgrad.data.splits import Split
from tailgrad.distributed import place
from tailgrad.evaluate.label_thresholds import fit_label_thresholds
from tailgrad.evaluate.several_labels import evaluate_labels
from tailgrad.recipes.components import NONE, components
from tailgrad.recipes.compose import named, overlay
from tailgrad.recipes.config import Config
from tailgrad.recipes.own_code import OWN
from tailgrad.types import ClassInfo

HEADS = (
    "baseline",
    "branch_sum",
    "class_heads",
    "conflict_branches",
    "csba",
    "linear",
    "se_gate",
    "wider_head",
)
"""Heads whose logits are free of one another; the others make one distribution over classes."""
MONITORS = ("mean_average_precision", "macro_auc", "macro_f1", "loss")
_CHUNK = 256


class SeveralLabels:
    """Several labels an image; see ``task.Task``.

    Example:
        >>> SeveralLabels().method
        'bce'
    """

    method = "bce"

    def settled(self, config: Config) -> Config:
        """The epoch is chosen by mean average precision unless ``train.monitor`` is given."""
        if "monitor" in config.train.model_fields_set:
            return config
        train = config.train.model_copy(update={"monitor": MONITORS[0]})
        return config.model_copy(update={"train": train})

    def check(self, config: Config) -> None:
        """Check that everything named fits images with several labels.

        Raises:
            InputError: something does not; what fits is named.

        Example:
            >>> SeveralLabels().check(Config(source="x", loss={"name": "focal"}))
            Traceback (most recent call last):
            ...
            tailgrad.checks.InputError: loss.name must take several labels an image, got 'focal'; choose ...
        """
        if config.loss.name not in label_losses():
            if config.loss.name.startswith(OWN):
                _refuse("a loss of your own is for one class an image", config.loss.name.removeprefix(OWN))
            raise InputError(
                f"loss.name must take several labels an image, got {config.loss.name!r}; choose from "
                f"{', '.join(label_losses())} (methods {', '.join(label_methods())})"
            )
        if config.head.name not in HEADS:
            raise InputError(
                f"head.name must give every label a logit of its own, got {config.head.name!r}; choose from "
                f"{', '.join(HEADS)}"
            )
        if config.train.monitor not in MONITORS:
            raise InputError(
                f"train.monitor must be a figure of several labels, got {config.train.monitor!r}; "
                f"choose from {', '.join(MONITORS)}"
            )
        for what, got in _unsupported(config):
            _refuse(what, got)

    def check_split(self, source: Source, split: Split, say: Any) -> None:
        """Check that every label has positives and negatives in training, and say what is thin or missing.

        Raises:
            InputError: a label has none of one kind, or no validation or test image has a label; the remedy
                is named.
        """
        names, counts = source.class_names, source.counts_of(split.train)
        never = [name for name, n in zip(names, counts, strict=True) if n == 0]
        always = [name for name, n in zip(names, counts, strict=True) if n == len(split.train)]
        for found, what in ((never, "positive"), (always, "negative")):
            if found:
                raise InputError(
                    f"every label must have a {what} training image, got none for {_listed(found)}; leave "
                    f"{'it' if len(found) == 1 else 'them'} out with --drop-labels {','.join(found)}, or add "
                    "images"
                )
        for part, index in (("validation", split.val), ("test", split.test)):
            bare = [name for name, n in zip(names, source.counts_of(index), strict=True) if n == 0]
            if len(bare) == len(names):
                raise InputError(
                    f"{part} images must have a label, got none in {len(index)}; give that part images with "
                    "labels, or leave the split out of the list so that one is drawn"
                )
            if bare:
                effect = "its threshold stays 0.5" if part == "validation" else "it has no figures"
                say(f"warning: no {part} image has {_listed(bare)}: {effect}, and means leave it out")

    def describe(self, source: Source) -> str:
        """``10 labels, 105 images without any``."""
        assert source.indicators is not None  # else it would be the other task
        bare = int((source.indicators.sum(1) == 0).sum())
        without = f", {bare} images without any (negatives of all)" if bare else ""
        return f"{source.num_classes} labels, {source.indicators.sum(1).mean():.1f} an image{without}"

    def score(
        self,
        logits: Tensor,
        target: Tensor,
        classes: ClassInfo,
        loss: nn.Module,
        focus: str | None = None,  # noqa: ARG002 - there is none
    ) -> dict[str, Any]:
        """Validation figures of an epoch by name.

        The F1 is that of thresholds fitted on the same images, so that it compares epochs and says nothing
        of new images.
        """
        thresholds = fit_label_thresholds(logits, target)
        found = evaluate_labels(logits, target, classes, thresholds, resamples=0)
        known = {row.name: row.average_precision for row in found.classes}
        return {
            "val_loss": _loss_value(loss, logits, target),
            "val_mean_average_precision": found.mean_average_precision.value,
            "val_macro_auc": found.macro_auc.value,
            "val_macro_f1": found.macro_f1.value,
            "val_worst_class": found.worst_class,
            "val_average_precision": {name: round(v.value, 4) for name, v in known.items() if v is not None},
        }

    def finish(self, job: Any, fitted: Any, stages: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        """Evaluate and write everything that a report reads; there are no stages."""
        from tailgrad.recipes.finish_labels import finish_labels

        return finish_labels(job, fitted)

    def keep_conflict(self, job: Any, name: str, parts: tuple[str, ...]) -> Any:
        """Measure label gradients and save them."""
        from tailgrad.recipes.finish_labels import keep_label_conflict

        return keep_label_conflict(job, name, parts)


SEVERAL_LABELS = SeveralLabels()


def label_losses() -> list[str]:
    """Losses that take several labels an image.

    Example:
        >>> "pairwise_auc" in label_losses()
        True
    """
    return [name for name, made in components("losses").items() if getattr(made, "multi_label", False)]


def label_methods() -> list[str]:
    """Methods that come with the package and have such a loss.

    Example:
        >>> label_methods()[:2]
        ['asl', 'bce']
    """
    losses = label_losses()
    return [
        name for name in named("methods") if overlay("methods", name).get("loss", {}).get("name") in losses
    ]


def refuse_several_labels(source: Source, what: str, remedy: str) -> None:
    """Refuse a source of several labels where only one class an image is known what to do with.

    Args:
        source: any.
        what: does not take several labels, as the subject of a sentence.
        remedy: what to do instead.

    Raises:
        InputError: images of the source have several labels.

    Example:
        >>> from tailgrad.data import open_source
        >>> refuse_several_labels(open_source("digits-lt"), "this", "do that")
    """
    if source.indicators is not None:
        raise InputError(f"{what} is for one class an image, got several labels of {source.name!r}; {remedy}")


def _unsupported(config: Config) -> Iterator[tuple[str, str]]:
    """What does not work with several labels and is asked for."""
    sections = {
        "sampler": ("instance",),
        "partner": (NONE,),
        "mixing": (NONE,),
        "sharpness": (NONE,),
        "combine": (NONE,),
        "auxiliary": (NONE,),
        "architecture": ("single",),
        "resample": (NONE,),
        "estimator": (NONE,),
    }
    for section, known in sections.items():
        name = getattr(config, section).name
        if name not in known:
            yield f"{section}.name is for one class an image", name
    if config.stages:
        yield "stages are for one class an image", ", ".join(stage.name for stage in config.stages)
    if config.posthoc:
        yield "posthoc methods are for one class an image", ", ".join(one.name for one in config.posthoc)
    if config.focus is not None:
        yield "focus is for one class an image", config.focus
    if config.interference.monitor_every:
        yield "interference.monitor_every is for one class an image", str(config.interference.monitor_every)
    yield from _unsupported_data(config)


def _unsupported_data(config: Config) -> Iterator[tuple[str, str]]:
    data = config.data
    if data.profile not in ("default", "none") or data.imb_factor is not None or data.counts is not None:
        yield "long-tail profiles are for one class an image", f"data.profile={data.profile}"
    if data.label_noise:
        yield "data.label_noise is for one class an image", f"{data.label_noise:g}"
    if place()[1] > 1 or config.train.devices not in (1, "auto"):
        yield "several processes are for one class an image", f"train.devices={config.train.devices}"


def _refuse(what: str, got: str) -> None:
    raise InputError(f"{what}, got {got!r} for a source of several labels; leave it out")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def _loss_value(loss: nn.Module, logits: Tensor, target: Tensor) -> float:
    """The training loss; a loss of pairs as the mean over blocks of images, as it is in training."""
    device = next((buffer.device for buffer in loss.buffers()), logits.device)
    with torch.no_grad():
        blocks = [slice(start, start + _CHUNK) for start in range(0, len(logits), _CHUNK)]
        values = [float(loss(logits[one].to(device), target[one].to(device))) for one in blocks]
    sizes = [len(target[one]) for one in blocks]
    return sum(n * value for n, value in zip(sizes, values, strict=True)) / len(logits)
