"""What a monitor saw, in a few plain sentences."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.descent import InitialDrop, words
from tailgrad.interference.measurement import Found

Records = Sequence[dict[str, Any]]
_NAMED = 3
_ENOUGH = 3  # measurements that hold a class, to speak of it


def monitor_words(
    records: Records, class_names: Sequence[str], pull: LogitPull, drops: Sequence[InitialDrop]
) -> str:
    """Sentences on what was measured, whom the updates went against, drops, and what could not be measured.

    Args:
        records: of a monitor, in order, at least one.
        class_names: K names.
        pull: added up over the records.
        drops: found in them.

    Example: see ``Monitor``.
    """
    lines = [_measured(records), _against(records), _pulled(class_names, pull), _uphill(records, drops)]
    lines += [_left_out(records[-1]), _sketched(records[-1])]
    lines.append(
        "These are figures of single training batches, without null or interval: an alarm, not a test; "
        "tailgrad.interference.measure gives both."
    )
    return "\n".join(filter(None, lines))


def nothing_words(steps: int, left_out: Counter[str]) -> str:
    """Why there are no records.

    Args:
        steps: steps that the monitor was told of.
        left_out: how many measurements were given up, by reason.

    Example:
        >>> nothing_words(3, Counter({"a gradient was NaN or infinite": 3}))
        'Nothing was measured in 3 steps: a gradient was NaN or infinite (3 of them).'
    """
    if not steps:
        return (
            "Nothing was measured yet: no step was watched; put the forward pass, the backward pass and the "
            "optimiser step of each batch inside `with monitor.watch(target):`."
        )
    said = "; ".join(f"{reason} ({n} of them)" for reason, n in left_out.most_common())
    return f"Nothing was measured in {steps} steps: {said or 'none that was due had a backward pass'}."


def reason_against(is_broken: bool, found: Found, is_scaled: bool) -> str:
    """Why a measurement is given up, or an empty text where it is kept.

    Args:
        is_broken: whether its passes were not heard as a whole.
        found: its figures.
        is_scaled: whether a gradient scaler decides on steps.

    Example: see ``Monitor``.
    """
    if is_broken:
        return "the backward pass from the model's logits was not heard as a whole"
    if not found.is_finite:
        return "a gradient was NaN or infinite"
    return "the gradient scaler skipped the step" if is_scaled and not found.update_norm else ""


def _measured(records: Records) -> str:
    first, last = records[0], records[-1]
    return (
        f"{len(records)} measurements in steps {first['step']} to {last['step']}: what each class's examples "
        f"contribute to the training gradient of parameters {last['parameters']!r} "
        f"({last['numbers']:,} numbers)."
    )


def _against(records: Records) -> str:
    held, against = Counter[str](), Counter[str]()
    for record in records:
        known = {name: value for name, value in record["alignment"].items() if value is not None}
        held.update(known.keys())
        against.update(name for name, value in known.items() if value < 0)
    shares = {name: n / held[name] for name, n in against.items() if held[name] >= _ENOUGH}
    worst = sorted(shares, key=lambda name: -shares[name])[:_NAMED]
    if not worst:
        return "No update went against the gradient of a class it held often enough to tell."
    said = "; ".join(f"{name} in {against[name]} of {held[name]}" for name in worst)
    return f"Updates that went against a class's own gradient, of those whose batch held it: {said}."


def _pulled(class_names: Sequence[str], pull: LogitPull) -> str:
    pulled = np.where(pull.own > 0, pull.ratio, np.nan)  # a class that no batch held is not pulled at all
    order = [c for c in np.argsort(pulled, kind="stable") if pulled[c] < 1][:_NAMED]
    if not order:
        return ""
    said = "; ".join(f"{class_names[c]} {pull.ratio[c]:.2f}" for c in order)
    return f"Logits pushed down by other classes harder than pulled up by their own, own over others: {said}."


def _uphill(records: Records, drops: Sequence[InitialDrop]) -> str:
    held = sum(any(value is not None for value in record["product"].values()) for record in records)
    if held < _ENOUGH:
        return "Too few measurements to tell whether a class was driven uphill."
    return words(drops)


def _left_out(last: dict[str, Any]) -> str:
    said = []
    if last["masked"]:
        said.append(f"Measured by one masked backward pass a class: {_some(last['masked'])}.")
    if last["unknown"]:
        said.append(
            f"Not measured, because their gradient does not all come from the logits of the batch: "
            f"{_some(last['unknown'])}; put weight decay into the optimiser rather than the loss."
        )
    return " ".join(said)


def _sketched(last: dict[str, Any]) -> str:
    if not last["sketch"]:
        return ""
    error = last["sketch"] ** -0.5
    return (
        f"Contributions were kept as sketches of {last['sketch']} numbers: cosines are off by about "
        f"{error:.3f}."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
