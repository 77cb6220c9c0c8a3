"""How ``--help`` is laid out: paragraphs as wide as the terminal, examples that can be copied."""

import inspect
import re
import shlex
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

EXIT_CODES = {
    0: "all is well, also where --max-minutes ended a run",
    1: "training diverged, or the doctor found a fault",
    2: "bad input; one message says what to do",
    130: "Ctrl-C, or a study that --max-minutes ended",
}
"""What the exit status says; the reference page prints the same."""

_MOST_WORDS = 12
_MARGIN = 6
"""Columns that the help of a command leaves free: one on the left, four before examples, one on the right."""


class Taught(TyperCommand):
    """A command whose docstring is laid out for the width at hand.

    Example:
        >>> Taught("train").name
        'train'
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command; a path with spaces that was given without quotes is recognised."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # Typer's UsageError, for which it exports no name
            message = str(getattr(error, "message", ""))
            meant = _unquoted(words) if "extra argument" in message else None
            if meant:
                vars(error)["message"] = f"{message}; a path with spaces goes in quotes: {shlex.quote(meant)}"
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, laid out for this terminal."""
        for param in self.get_params(ctx):
            if getattr(param, "is_flag", False):  # Typer would print <bool>, and nobody types that
                param.metavar = ""
        written, self.help = self.help, laid_out(self.help or "", shutil.get_terminal_size().columns)
        try:
            super().format_help(ctx, formatter)
        finally:
            self.help = written


def _unquoted(words: Sequence[str]) -> str | None:
    """The file or folder that neighbouring words name when they are joined by spaces."""
    joined = (
        " ".join(words[first:last])
        for first in range(min(len(words), _MOST_WORDS))
        for last in range(first + 2, min(len(words), _MOST_WORDS) + 1)
    )
    return next((path for path in joined if Path(path).expanduser().exists()), None)


def laid_out(text: str, width: int) -> str:
    r"""A docstring with one line a paragraph; examples too long for the width go on in a second line.

    Args:
        text: paragraphs, and after ``Examples:`` one command a line.
        width: columns of the terminal.

    Example:
        >>> print(laid_out("Do.\n\nOne\ntwo.\n\nExamples:\n    tailgrad train photos/ --resume", 30))
        Do.
        <BLANKLINE>
        One two.
        <BLANKLINE>
        Examples:
            tailgrad train photos/ \
                --resume
    """
    above, marked, examples = inspect.cleandoc(text).partition("Examples:\n")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", above.strip())]
    if marked:
        lines = [line for one in examples.splitlines() for line in _example(one.strip(), width - _MARGIN)]
        paragraphs.append("\n".join(["Examples:", *lines]))
    return "\n\n".join(paragraphs)


def _example(command: str, width: int) -> list[str]:
    """A command over as many lines as it takes; a shell reads them as one."""
    lines = textwrap.wrap(
        command,
        max(20, width - 2),
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    if len(command) <= width:
        lines = [command]
    *goes_on, last = lines
    return [*(f"    {line} \\" for line in goes_on), f"    {last}"]


def exit_codes() -> str:
    """What the exit status says, in a few lines.

    Example:
        >>> exit_codes().splitlines()[0]
        'Exit status:'
    """
    return "\n".join(["Exit status:", *(f"  {code:3}  {words}" for code, words in EXIT_CODES.items())])
