"""A log-log plot of cost over size as SVG text, with a line of slope 1 to compare with."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tailgrad.files import write_text

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 420, 70, 30, 20, 50
Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def growth_plot(lines: Lines, across: str, what: str, path: Path) -> None:
    """Write one thin line a series; the dashed one grows linearly from the median start.

    Args:
        lines: sizes and seconds by name.
        across: what the sizes are.
        what: what was timed.
        path: of the SVG file.
    """
    sizes = [x for xs, _ in lines.values() for x in xs]
    times = [y for _, ys in lines.values() for y in ys]
    x0, x1 = math.log10(min(sizes)), math.log10(max(sizes))
    y0, y1 = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def at(x: float, y: float) -> str:
        px = LEFT + (math.log10(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        py = HEIGHT - BOTTOM - (math.log10(y) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return f"{px:.1f},{py:.1f}"

    parts = [_line([at(10**x0, 10**y), at(10**x1, 10**y)], "#ddd") for y in range(y0, y1 + 1)]
    parts += [_text(*at(10**x0, 10**y).split(","), f"1e{y} s", "end", -6, 4) for y in range(y0, y1 + 1)]
    ticks = sorted(set(sizes))
    parts += [_text(*at(x, 10**y0).split(","), f"{x:,.0f}", "middle", 0, 18) for x in ticks]
    parts += [_line([at(x, y) for x, y in zip(xs, ys, strict=True)], "#2171b5") for xs, ys in lines.values()]
    start = sorted(ys[0] for _, ys in lines.values())[len(lines) // 2]
    end = min(10**x1, 10**x0 * 10**y1 / start)
    parts.append(_line([at(10**x0, start), at(end, start * end / 10**x0)], "#b2182b", "6 4"))
    parts.append(_text(WIDTH / 2, HEIGHT - 12, across, "middle"))
    parts.append(_text(LEFT, 18, f"{what}: each line one, dashed: linear", "start"))
    body = "\n".join(parts)
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {view}>'
    write_text(path, f'{head}\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n')


def _line(points: Sequence[str], colour: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.4"{dashed}/>'


def _text(x: object, y: object, text: str, anchor: str, right: float = 0, down: float = 0) -> str:
    place = f'x="{float(str(x)) + right:.1f}" y="{float(str(y)) + down:.1f}"'
    return f'<text {place} text-anchor="{anchor}">{text}</text>'
