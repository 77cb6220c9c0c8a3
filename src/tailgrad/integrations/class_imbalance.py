"""The one knob of the framework classes, ``class_imbalance``: which loss and which sampler it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from tailgrad.checks import InputError, positive_counts
from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.integrations.imbalance_knob import ALLOW, Knob, Part, asked_parts, refuse_other_words
from tailgrad.recipes.components import build
from tailgrad.recipes.usual_method import usual_method


@dataclass(frozen=True)
class ClassImbalance:
    """What the knob stands for with the classes of a data set. Made by ``choose_for``.

    Args:
        loss: called with logits [N, K] and target; None leaves the framework's own.
        sampler: which; None leaves the framework's own shuffle.
        ledger: the class prior that both leave; None where nothing was asked for.
        text: what was chosen and what it makes of the prior, in sentences.
        filled: what the training knows of its length and batches, for the sampler.

    Example:
        >>> choose_for([128, 6], "auto").loss
        BalancedSoftmaxLoss(class_counts=[128, 6], reduction='mean')
    """

    loss: nn.Module | None
    sampler: Part | None
    ledger: Ledger | None
    text: str
    filled: Mapping[str, int] = field(default_factory=dict)

    def make_sampler(self, target: Sequence[int], seed: int = 0) -> Any | None:
        """The sampler of training examples, for a framework that counts epochs from 0.

        Args:
            target: class index of each training example, [N].
            seed: with the epoch, fixes the order.

        Raises:
            InputError: the labels do not suit the sampler.

        Example:
            >>> made = choose_for([3, 1], {"sampler": "class_balanced"}).make_sampler([0, 0, 0, 1])
            >>> made.set_epoch(0)
            >>> made.epoch
            1
        """
        if self.sampler is None:
            return None
        made = _build(self.sampler, "sampler", target, {**self.filled, "seed": seed})
        made.set_epoch = partial(_set_epoch_from_0, made)
        return made

    def set_epoch(self, epoch: int) -> None:
        """Tell the loss its epoch, counted from 1, if it changes over training."""
        tell = getattr(self.loss, "set_epoch", None)
        if tell is not None:
            tell(epoch)


def choose_for(
    class_counts: Sequence[int],
    class_imbalance: Knob,
    *,
    class_names: Sequence[str] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> ClassImbalance:
    """Turn the knob into a loss, a sampler, sentences that say what was chosen, and the ledger.

    ``"auto"`` is the rule of ``tailgrad new``: balanced softmax from an imbalance factor of 1.5 on, below it
    nothing. A mapping has ``"loss"``, ``"sampler"`` or both, each a name of recipes or
    ``{"name": ..., "options": {...}}``, and may have ``"allow_double_correction": True``. None changes
    nothing.

    Args:
        class_counts: training examples of each class, each at least 1; not looked at for None.
        class_imbalance: the knob.
        class_names: K names for the sentences; the class's index by default.
        epochs: of the training, for what changes over it and for a ``defer`` that is a share of it.
        batch_size: of one process, for samplers that fill batches.

    Raises:
        InputError: an unknown name, key or option (the nearest is named), a loss that does not take logits
            and one class an example, a class without an example, or two corrections of one prior.

    Example:
        >>> made = choose_for([100, 10], {"loss": {"name": "focal", "options": {"gamma": 1.0}}})
        >>> made.text.splitlines()[0]
        'class_imbalance: the loss is focal; examples are drawn by the usual shuffle.'
        >>> choose_for([100, 10], {"loss": "balanced_sofmax"})
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: class_imbalance['loss'].name must be a known name, got ...
    """
    if class_imbalance is None:
        return ClassImbalance(None, None, None, "class_imbalance=None: nothing is changed.")
    counts = positive_counts(class_counts)
    if len(counts) < 2:
        raise InputError(
            f"class_counts must hold two classes or more, got {list(counts)}; one class needs no correction: "
            "set class_imbalance=None"
        )
    names = tuple(map(str, range(len(counts)))) if class_names is None else tuple(class_names)
    if isinstance(class_imbalance, str):
        refuse_other_words(class_imbalance)
        return _automatic(counts, names)
    filled = {key: n for key, n in (("epochs", epochs), ("batch_size", batch_size)) if n is not None}
    return _as_asked(class_imbalance, counts, names, filled)


def _automatic(counts: tuple[int, ...], names: tuple[str, ...]) -> ClassImbalance:
    most, least = max(counts), min(counts)
    method, why = usual_method(most / least)
    ends = f"{most} of {names[counts.index(most)]} to {least} of {names[counts.index(least)]}"
    if method == "ce":
        left = ledger([], counts, class_names=names)
        return ClassImbalance(None, None, left, f"class_imbalance='auto' ({ends}): {why} Nothing is changed.")
    loss = build("losses", method, {}, list(counts))
    left = ledger([(f"loss {method}", loss)], counts, class_names=names)
    said = f"class_imbalance='auto' ({ends}): the loss is {method}; examples are drawn by the usual shuffle."
    return ClassImbalance(loss, None, left, f"{said} {why}\n{_verdict(left)}")


def _as_asked(
    knob: Mapping[str, Any], counts: tuple[int, ...], names: tuple[str, ...], filled: Mapping[str, int]
) -> ClassImbalance:
    parts = asked_parts(knob)
    _refuse_shares(parts, filled)
    examples = np.repeat(np.arange(len(counts)), counts)  # in no order: the sampler answers for its shares
    given = {"loss": list(counts), "sampler": examples}
    made = {part: _build(found, part, given[part], filled) for part, found in parts.items()}
    left = ledger(
        [(f"{part} {parts[part].name}", one.correction()) for part, one in made.items()],
        counts,
        class_names=names,
        allow_double_correction=bool(knob.get(ALLOW)),
    )
    sampler = parts.get("sampler")
    loss = f"the loss is {parts['loss'].name}" if "loss" in parts else "the loss stays as it is"
    drawn = f"the sampler is {sampler.name}" if sampler else "examples are drawn by the usual shuffle"
    text = f"class_imbalance: {loss}; {drawn}.\n{_verdict(left)}"
    return ClassImbalance(made.get("loss"), sampler, left, text, filled)


def _build(part: Part, kind: str, given: Any, filled: Mapping[str, int]) -> Any:
    folder, where = {"loss": "losses", "sampler": "samplers"}[kind], f"class_imbalance[{kind!r}]"
    return build(folder, part.name, part.options, given, filled=filled, section=where)


def _refuse_shares(parts: Mapping[str, Part], filled: Mapping[str, int]) -> None:
    for part in parts.values():
        for key in ("defer", "phase"):
            value = part.options.get(key)
            if "epochs" not in filled and isinstance(value, float) and 0 < value < 1:
                raise InputError(
                    f"{key} of {part.name} must be a number of epochs where the length of the training is "
                    f"not known, got {value}; give a whole number, or epochs"
                )


def _set_epoch_from_0(sampler: Any, epoch: int) -> None:
    type(sampler).set_epoch(sampler, epoch + 1)


def _verdict(left: Ledger) -> str:
    line = left.text().splitlines()[-1]
    return f"{line[0].upper()}{line[1:]}."
