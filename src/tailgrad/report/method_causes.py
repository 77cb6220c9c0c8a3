"""Why methods fail on some classes: in how many runs each cause stands out."""

from tailgrad.report.blocks import Block, Check, Table
from tailgrad.report.causes import causes
from tailgrad.report.folders import Study


def causes_of_methods(study: Study) -> tuple[tuple[Block, ...], str]:
    """A table of causes by method, and what stands out in most runs of the first one.

    Args:
        study: the study.

    Example: see ``write_report``.
    """
    found = {method: [causes(run) for run in runs] for method, runs in study.runs.items()}
    titles = [check.title for check in next(iter(found.values()))[0]]
    cells = [[_seen([run[at].tone for run in runs]) for runs in found.values()] for at in range(len(titles))]
    rows = tuple((title, *row) for title, row in zip(titles, cells, strict=True))
    caption = "Possible causes: in how many runs each stands out of the noise"
    return (Table(caption, ("cause", *found), rows),), _lead(titles, found)


def _seen(tones: list[str]) -> str:
    known = [tone for tone in tones if tone != "missing"]
    return f"{known.count('warn')} of {len(known)}" if known else "not measured"


def _lead(titles: list[str], found: dict[str, list[tuple[Check, ...]]]) -> str:
    method, runs = next(iter(found.items()))
    out = [
        title[:1].lower() + title[1:]
        for at, title in enumerate(titles)
        if 2 * sum(run[at].tone == "warn" for run in runs) > len(runs)
    ]
    if not out:
        return f"In {method}, no cause stands out of the noise in most runs."
    return f"In {method}, these stand out in most runs: {'; '.join(out)}."
