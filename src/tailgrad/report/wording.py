"""Numbers and names as the reader sees them."""

import html
import math
from typing import Any

from tailgrad.evaluate import Estimate

NOTHING = "\u2013"
_METRICS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "worst_f1": "F1 of the worst class",
    "tuned_macro_f1": "macro-F1 with tuned thresholds",
    "focus_f1": "F1 of the class in focus",
    "g_mean": "geometric mean of the recalls",
    "macro_auc": "macro-AUC",
    "micro_f1": "micro-F1",
    "macro_f1_at_half": "macro-F1 at probability 0.5",
    "tail_average_precision": "average precision, tail",
    "tail_auc": "AUC, tail",
}


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed digits, a dash where there is none.

    Example:
        >>> number(0.61534), number(None), number(float("nan"))
        ('0.615', '\u2013', '\u2013')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign.

    Example:
        >>> signed(0.0386), signed(-0.2)
        ('+0.039', '-0.200')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """An interval in words, a dash where there is none.

    Example:
        >>> interval(0.53, 0.7), interval(-0.01, 0.02, sign=True), interval(None, None)
        ('0.530 to 0.700', '-0.010 to +0.020', '\u2013')
    """
    if low is None or high is None:
        return NOTHING
    return f"{signed(low)} to {signed(high)}" if sign else f"{number(low)} to {number(high)}"


def estimate(figure: Estimate) -> str:
    """A figure with its interval.

    Example:
        >>> estimate(Estimate(0.6, 0.5, 0.7)), estimate(Estimate(0.6))
        ('0.600 (0.500 to 0.700)', '0.600')
    """
    ends = interval(figure.low, figure.high)
    return number(figure.value) if ends == NOTHING else f"{number(figure.value)} ({ends})"


def p_value(p: float | None) -> str:
    """A p value with three digits.

    Example:
        >>> p_value(0.03214), p_value(0.0001), p_value(None)
        ('0.032', '< 0.001', '\u2013')
    """
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def short(name: str, length: int = 20) -> str:
    """A name on one line, cut in the middle where it is long.

    Example:
        >>> short("cat"), short("a" * 30 + "z", 9)
        ('cat', 'aaaa\u2026aaaz')
    """
    name = " ".join(name.split())
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}\u2026{name[-half:]}"


def plot_label(name: str, length: int = 20) -> str:
    """A name for Plotly, which reads HTML tags and entities in every text.

    Example:
        >>> plot_label("<b>cat</b> & co")
        '&lt;b&gt;cat&lt;/b&gt; &amp; co'
    """
    return html.escape(short(name, length), quote=False)


def metric_name(key: str) -> str:
    """The name of a metric.

    Example:
        >>> metric_name("macro_f1")
        'macro-F1'
    """
    return _METRICS.get(key, key.replace("_", " "))


def duration(seconds: float) -> str:
    """A time span.

    Example:
        >>> duration(42), duration(3723)
        ('42 s', '1 h 2 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Keys of nested dictionaries joined by dots, with their values as text.

    Example:
        >>> flat({"optim": {"lr": 0.1}, "seed": 0})
        [('optim.lr', '0.1'), ('seed', '0')]
    """
    pairs: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs


def percent(share: float) -> str:
    """A share in whole percent.

    Example:
        >>> percent(0.256)
        '26 %'
    """
    return f"{100 * share:.0f} %"
