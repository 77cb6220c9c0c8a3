"""A page as one HTML file that holds everything it needs."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tailgrad import __version__
from tailgrad.report.blocks import Page

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


SCRIPTS = ("theme", "figures", "tables", "slider", "picker", "start")
"""Files of ``scripts/``, in the order in which they run."""
_FIGURED = re.compile(r"([+-]?\d+(?:\.\d+)?)( \([^()]+\))")


def figured(cell: str) -> tuple[str, str]:
    """A cell in two parts: the figure, and its interval in brackets.

    Example:
        >>> figured("0.600 (0.500 to 0.700)"), figured("cat (3)")
        (('0.600', ' (0.500 to 0.700)'), ('cat (3)', ''))
    """
    found = _FIGURED.fullmatch(cell)
    return (found[1], found[2]) if found else (cell, "")


def script_json(value: Any) -> Markup:
    r"""JSON that may stand inside a script element, whatever texts it holds.

    Example:
        >>> script_json({"name": "</script>"})
        Markup('{"name":"\\u003c/script\\u003e"}')
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.translate(_ESCAPES))


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def html_page(page: Page) -> str:
    """The page as HTML: style, script and Plotly's JavaScript inside, every text escaped.

    A content security policy forbids the file any request, and any script but these two.

    Example:
        >>> html = html_page(Page("<b>Run</b>", (), (), "", ()))
        >>> "<h1>&lt;b&gt;Run&lt;/b&gt;</h1>" in html
        True
    """
    # Four megabytes of JavaScript take a moment to read: only where a report is written.
    from plotly.offline import get_plotlyjs

    loader = PackageLoader("tailgrad.report", "")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["script_json"] = script_json
    environment.filters["figured"] = figured
    script = Markup("\n".join(loader.get_source(environment, f"scripts/{name}.js")[0] for name in SCRIPTS))
    # An HTML parser reads \r as \n, and the policy's hashes are of what it reads.
    plotly = Markup(get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n"))
    html = environment.get_template("template.html").render(
        page=page,
        version=__version__,
        style=Markup(loader.get_source(environment, "style.css")[0]),
        script=script,
        plotly=plotly,
        hashes=" ".join(_hash(f"\n{one}\n") for one in (plotly, script)),
    )
    # A folder name that is not UTF-8 arrives as lone surrogates, which no file can hold.
    return html.encode("utf-8", "replace").decode("utf-8")
