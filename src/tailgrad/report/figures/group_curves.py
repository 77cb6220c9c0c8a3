"""Who is answered, and how often wrongly, as fewer images are answered."""

from collections.abc import Sequence
from typing import Any

from tailgrad.evaluate import Reliability, thirds
from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import DASHES, colour, layout, plain, title
from tailgrad.report.wording import percent

_ANSWERED = (
    "Share of the images of frequent (head) and rare (tail) classes that are answered, over the share of all "
    "test images answered. Lines that part mean that silence falls on some classes more than on others."
)
_RISK = (
    "Share wrong among the images that are answered. A line that does not fall to the left means that "
    "withholding the least sure images does nothing for these classes."
)


def group_curves(found: Reliability) -> tuple[Figure, Figure]:
    """Two figures over the share of all test images answered: share answered and share wrong, by third.

    Args:
        found: with its curves by class.

    Example: see ``report.reliability``.
    """
    groups = thirds(found.classes.counts)
    images = [own.images for own in found.calibration]
    told = found.abstention
    answered = {name: [_mean(row, images, k) for row in told.answered] for name, k in groups.items()}
    risk = {
        name: [
            _mean(wrong, [(share or 0) * n for share, n in zip(some, images, strict=True)], k)
            for wrong, some in zip(told.risk, told.answered, strict=True)
        ]
        for name, k in groups.items()
    }
    return (
        _figure("Who is answered", _ANSWERED, "share answered", told.grid, answered),
        _figure("How often wrongly", _RISK, "share wrong of these", told.grid, risk),
    )


def _mean(values: Sequence[float | None], weights: Sequence[float], classes: Sequence[int]) -> float | None:
    """Weighted mean over classes, None where nothing weighs."""
    total = sum(weights[k] for k in classes)
    return sum((values[k] or 0.0) * weights[k] for k in classes) / total if total else None


def _figure(
    name: str, meaning: str, axis: str, grid: Sequence[float], lines: dict[str, list[float | None]]
) -> Figure:
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": label,
            "x": plain(grid),
            "y": plain(values),
            "line": {"color": colour(place), "dash": DASHES[place % len(DASHES)], "width": 2},
            "hovertemplate": f"{label}: %{{y:.2f}} at %{{x:.2f}}<extra></extra>",
        }
        for place, (label, values) in enumerate(lines.items())
    ]
    x = {"title": title("share of all test images answered"), "range": [0, 1.02]}
    drawn = layout(320, x, {"title": title(axis), "range": [-0.02, 1.02]})
    half = min(range(len(grid)), key=lambda i: abs(grid[i] - 0.5))
    told = ", ".join(
        f"{label} {percent(values[half] or 0.0)}" if values[half] is not None else f"{label} none"
        for label, values in lines.items()
    )
    alt = f"{axis[:1].upper()}{axis[1:]} where half of all images are answered: {told}."
    return Figure(name, meaning, alt, {"data": data, "layout": drawn | {"showlegend": True}})
