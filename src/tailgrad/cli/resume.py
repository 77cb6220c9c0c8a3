"""The command that goes on with this one."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


def resume_command(argv: Sequence[str]) -> str:
    """The command that goes on with an interrupted one, to be typed in the same folder.

    Args:
        argv: the words of the interrupted one, as in ``sys.argv``.

    Example:
        >>> resume_command(["/usr/bin/tailgrad", "train", "my photos"])
        "tailgrad train 'my photos' --resume"
    """
    as_module = Path(argv[0]).name == "__main__.py"
    program = [sys.executable, "-m", "tailgrad"] if as_module else ["tailgrad"]
    words = [*program, *argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])
