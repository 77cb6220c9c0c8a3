"""The model card: what the network knows, class by class, and what it does not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tailgrad.ship.description import Description

_MOST = 200
_FIGURES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "average precision",
    "auc": "AUC",
}
_MARKS = {"&": "&amp;", "<": "&lt;", "|": "\\|", "`": "'", "[": "\\[", "]": "\\]"}


def model_card(about: Description, name: str) -> str:
    """A README for the Hugging Face layout: YAML header, classes with intervals, conflict, ledger, limits.

    Args:
        about: of the network.
        name: of the model.

    Source: the metadata specification of model cards, huggingface.co/docs/hub/model-cards.

    Example:
        >>> from tailgrad.ship.description import Preprocessing
        >>> images = Preprocessing(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
        >>> print(model_card(Description(names=("a", "b"), counts=(9, 1), preprocessing=images), "mine"))
        ---
        ...
        # mine
        ...
    """
    parts = (
        [f"---\n{_header(about, name)}---", f"# {_plain(name)}", _opening(about)],
        _columns(about),
        _classes(about),
        _section("Conflict between classes", about.conflict),
        _ledger(about),
        _section("Limits", [f"- {_plain(line)}" for line in about.limits]),
        _section("Use", [_use(about)]),
        _section(
            "Provenance",
            [
                f"- {key.replace('images', about.kind)}: `{_plain(str(value))}`"
                for key, value in about.provenance.items()
            ],
        ),
    )
    return "\n\n".join(text for part in parts for text in part) + "\n"


def _header(about: Description, name: str) -> str:
    figures = [
        {"type": kind, "name": kind.replace("_", " "), "value": round(figure["value"], 4)}
        for kind in ("macro_f1", "balanced_accuracy", "accuracy", "mean_average_precision", "macro_auc")
        if (figure := about.headline.get(kind))
    ]
    data, task = str(about.provenance.get("data", "unknown")), _task(about)
    result = {
        "task": {"type": task},
        "dataset": {"name": data, "type": data, "split": "test"},
        "metrics": figures,
    }
    header = {
        "license": "unknown",
        "library_name": "tailgrad",
        "pipeline_tag": task,
        "tags": [task, "long-tailed", "class-imbalance", "tailgrad"],
        "metrics": [figure["type"] for figure in figures],
        "model-index": [{"name": name, "results": [result]}],
    }
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)


def _opening(about: Description) -> str:
    run = {key: _plain(str(value)) for key, value in about.provenance.items()}
    head, parameters = _plain(str(about.head.get("name", "unknown"))), about.provenance.get("parameters")
    size = f", {parameters:,} parameters" if isinstance(parameters, int) else ""
    return (
        f"{_what(about)} for {len(about.names)} {_kinds(about)}: backbone `{run.get('backbone')}`, "
        f"head `{head}`{size}, {_inputs(about)}. Trained by "
        f"tailgrad {_plain(about.tailgrad)} (method `{run.get('method')}`, regime "
        f"`{run.get('regime')}`, seed {run.get('seed')}). "
        f"Calibration: {_plain(about.calibration)}."
    )


def _task(about: Description) -> str:
    return "image-classification" if about.encoding is None else "tabular-classification"


def _what(about: Description) -> str:
    return "An image classifier" if about.encoding is None else "A classifier of rows of a table"


def _inputs(about: Description) -> str:
    if about.preprocessing is None:
        return f"rows of {about.encoding}"
    height, width = about.preprocessing.size
    return f"images of {height} x {width} pixels (height x width)"


def _columns(about: Description) -> Iterator[str]:
    """The columns that a table must have, and how their values are taken."""
    encoding = about.encoding
    if encoding is None:
        return
    yield "## Columns"
    numbers = [[_plain(code.name), "number", f"median {code.median:.4g}"] for code in encoding.numbers]
    words = [
        [_plain(code.name), "category", f"{code.cardinality} seen in training"]
        for code in encoding.categories
    ]
    yield (
        "A table must have these columns; others are passed over. A missing number becomes the median of "
        "training, and a category that training has not seen counts as any other such."
    )
    yield _table(["column", "kind", "in training"], (numbers + words)[:_MOST])
    if len(numbers + words) > _MOST:
        yield f"{len(numbers + words) - _MOST} further columns are in `config.json`."


def _classes(about: Description) -> Iterator[str]:
    yield "## Classes"
    if not about.per_class:
        yield "No test figures are known."
        return
    told = f"{about.headline.get('images')} test {about.kind}, intervals of 95 %."
    if figure := about.headline.get("macro_f1"):
        told += f" Macro-F1 {interval(figure)}, worst class {_plain(str(about.headline.get('worst_class')))}."
    if figure := about.headline.get("mean_average_precision"):
        told += f" Mean average precision {interval(figure)}."
    yield told
    figures = [name for name in _FIGURES if any(name in row for row in about.per_class)]
    rows = [
        [_plain(row["name"]), str(row["train_count"]), str(row["support"])]
        + ([f"{row['threshold']:.3f}"] if about.several_labels else [])
        + [interval(row.get(figure, {})) for figure in figures]
        for row in about.per_class[:_MOST]
    ]
    threshold = ["threshold"] if about.several_labels else []
    header = [
        "label" if about.several_labels else "class",
        f"training {about.kind}",
        f"test {about.kind}",
        *threshold,
        *(_FIGURES[name] for name in figures),
    ]
    yield _table(header, rows)
    if len(about.per_class) > _MOST:
        yield f"{len(about.per_class) - _MOST} further classes are in `config.json`."
    if about.focus is not None:
        yield (
            f"These are figures of the likeliest class. `predict` chooses {_plain(about.focus.name)} "
            f"wherever its probability reaches {about.focus.threshold:.4g}, and elsewhere the "
            "likeliest other class."
        )


def _kinds(about: Description) -> str:
    return "labels, of which an image has any number" if about.several_labels else "classes"


def _ledger(about: Description) -> Iterator[str]:
    if about.several_labels:
        return
    yield "## Class prior"
    if about.prior is None:
        yield "The prior that the probabilities stand for is not known."
        return
    components = about.ledger.get("components", [])
    named = ", ".join(f"{_plain(one['name'])} ({one['kind']})" for one in components)
    yield f"Corrections: {named or 'none'}. The probabilities stand for the effective prior."
    total = max(1, sum(about.counts))
    target = about.target_prior or (None,) * len(about.names)
    rows = [
        [_plain(name), f"{n / total:.4f}", f"{prior:.4f}", "" if wanted is None else f"{wanted:.4f}"]
        for name, n, prior, wanted in zip(
            about.names[:_MOST], about.counts, about.prior, target, strict=False
        )
    ]
    yield _table(["class", "share in training", "effective prior", "target prior"], rows)
    if len(about.names) > _MOST:
        yield f"{len(about.names) - _MOST} further classes are in `config.json`."


def _use(about: Description) -> str:
    what = "any of {} labels" if about.several_labels else "one of {} classes"
    file = "image.png" if about.encoding is None else "rows.csv"
    return (
        '```python\nfrom tailgrad import from_pretrained\n\nmodel = from_pretrained("this folder")\n'
        f'model.predict(["{file}"])  # {what.format(len(about.names))}\n```'
    )


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"## {title}"
        yield "\n".join(lines) if lines[0].startswith(("- ", "```")) else "\n\n".join(map(_plain, lines))


def interval(figure: Mapping[str, Any]) -> str:
    """A figure with its interval.

    Example:
        >>> interval({"value": 0.5, "low": 0.4, "high": 0.61})
        '0.500 [0.400, 0.610]'
    """
    if figure.get("value") is None:
        return "unknown"
    if figure.get("low") is None or figure.get("high") is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that stays text in Markdown."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    for mark, written in _MARKS.items():
        shown = shown.replace(mark, written)
    return shown
