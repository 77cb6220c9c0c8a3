"""Rows of text as Markdown, CSV or LaTeX."""

import csv
import io
import re
from collections.abc import Mapping, Sequence

Rows = Sequence[Sequence[str]]
_SPECIAL = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
)
_PREAMBLE = r"% needs \usepackage{booktabs}, and \usepackage[T1]{fontenc} for names beyond ASCII"
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?)(?: \[.*\])?")


def as_markdown(tables: Mapping[str, Rows], notes: Mapping[str, str], _label: str = "") -> str:
    r"""Tables under each other, a group's name before its own; pipes in cells are escaped.

    Example:
        >>> print(as_markdown({"": [["method", "f1"], ["a|b", "0.5"]]}, {}))
        | method | f1 |
        |---|---|
        | a\|b | 0.5 |
    """
    parts = []
    for name, rows in tables.items():
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        parts += [f"**{name}**"] if name else []
        parts += ["\n".join(lines), *([notes[name]] if notes.get(name) else [])]
    return "\n\n".join(parts)


def as_csv(tables: Mapping[str, Rows], _notes: Mapping[str, str], _label: str = "") -> str:
    """One table; several groups are told apart by a first column.

    Example:
        >>> print(as_csv({"": [["method", "f1"], ["a,b", "0.5"]]}, {}))
        method,f1
        "a,b",0.5
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    groups = any(tables)
    before: Sequence[str] = ()
    for name, (header, *rows) in tables.items():
        if list(header) != list(before):
            writer.writerow([*(["group"] if groups else []), *header])
            before = header
        writer.writerows([*([name] if groups else []), *row] for row in rows)
    return text.getvalue().rstrip("\n")


def as_latex(tables: Mapping[str, Rows], notes: Mapping[str, str], label: str = "") -> str:
    r"""A float for each table: intervals beside their figures, and the best mean of each metric in bold.

    Example:
        >>> print(as_latex({"": [["method", "f1"], ["a_b", "0.5"], ["c", "0.4"]]}, {}, "mine"))
        % needs \usepackage{booktabs}, and \usepackage[T1]{fontenc} for names beyond ASCII
        \begin{table}
        \centering
        \caption{Means with 95\,\% intervals; the highest mean is bold.}
        \label{tab:mine}
        \footnotesize\setlength{\tabcolsep}{4pt}
        \begin{tabular}{lr}
        \toprule
        method & f1 \\
        \midrule
        a\_b & \textbf{0.5} \\
        c & 0.4 \\
        \bottomrule
        \end{tabular}
        \end{table}
    """
    floats = [_float(name, _joined(rows), notes.get(name, ""), label) for name, rows in tables.items()]
    return "\n".join([_PREAMBLE, "\n\n".join(floats)])


def _float(name: str, rows: Rows, note: str, label: str) -> str:
    about = rf"Means with 95\,\% intervals; the highest mean is bold. {_escaped(note)}".strip()
    text = f"{_escaped(name)}: {about}" if name else about
    key = re.sub(r"[^A-Za-z0-9.:-]+", "-", f"{label}-{name}" if name else label)
    best = _best(rows)
    body = [
        " & ".join(_cell(cell, bold=(i, j) in best) for j, cell in enumerate(row)) + r" \\"
        for i, row in enumerate(rows)
    ]
    columns = "".join("r" if _is_column_of_numbers(rows, j) else "l" for j in range(len(rows[0])))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{text}}}",
            rf"\label{{tab:{key}}}",
            r"\footnotesize\setlength{\tabcolsep}{4pt}",  # figures with intervals fill the width of a page
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _joined(rows: Rows) -> list[list[str]]:
    """Rows with each interval in the cell of its figure: columns ``low`` and ``high`` go."""
    header = list(rows[0])
    ends = {place - 1: (place, place + 1) for place, name in enumerate(header) if name.endswith("low")}
    gone = {place for pair in ends.values() for place in pair}
    found = [[name for place, name in enumerate(header) if place not in gone]]
    for row in rows[1:]:
        cells = list(row)
        for place, (low, high) in ends.items():
            cells[place] += f" [{row[low]}, {row[high]}]" if row[low] else ""
        found.append([cell for place, cell in enumerate(cells) if place not in gone])
    return found


def _is_column_of_numbers(rows: Rows, place: int) -> bool:
    cells = [row[place] for row in rows[1:] if row[place]]
    return bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def _best(rows: Rows) -> set[tuple[int, int]]:
    """Cells with the highest mean of their column; counts, differences and p values have none."""
    found = set()
    for place, name in enumerate(rows[0]):
        if name in ("method", "seeds", "splits", "difference", "p (Holm)", "verdict"):
            continue
        values = {i: match for i, row in enumerate(rows) if i and (match := _NUMBER.fullmatch(row[place]))}
        means = {i: float(match[1]) for i, match in values.items()}
        if len(set(means.values())) > 1:
            found |= {(i, place) for i, mean in means.items() if mean == max(means.values())}
    return found


def _cell(text: str, *, bold: bool) -> str:
    """A cell's text; figures with a sign are set as mathematics, so that a minus is no hyphen."""
    match = _NUMBER.fullmatch(text)
    shown = re.sub(r"[-+]\d+(?:\.\d+)?", r"$\g<0>$", text) if match else _escaped(text)
    if not bold or match is None:
        return shown
    return rf"\textbf{{{match[1]}}}{shown[len(match[1]) :]}"


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
