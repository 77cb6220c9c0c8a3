"""What a monitor saw, in a few plain sentences."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.descent import InitialDrop, words

Records = Sequence[dict[str, Any]]
_NAMED = 3
_ENOUGH = 3  # measurements that hold a class, to speak of it


def monitor_words(
    records: Records, class_names: Sequence[str], pull: LogitPull, drops: Sequence[InitialDrop]
) -> str:
    """Sentences on what was measured, whom the updates went against, drops, and what could not be measured.

    Args:
        records: of a monitor, in order.
        class_names: K names.
        pull: added up over the records.
        drops: found in them.

    Example:
        >>> monitor_words([], ["cat", "dog"], LogitPull(np.zeros(2), np.zeros(2)), [])
        'Nothing was measured yet.'
    """
    if not records:
        return "Nothing was measured yet."
    lines = [_measured(records), _against(records), _pulled(class_names, pull), _uphill(records, drops)]
    lines += [_left_out(records[-1]), _sketched(records[-1])]
    lines.append(
        "These are figures of single training batches, without null or interval: an alarm, not a test; "
        "tailgrad.interference.measure gives both."
    )
    return "\n".join(filter(None, lines))


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
