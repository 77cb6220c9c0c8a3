"""The command line: one thin file a command, no maths.

A command is a function with Typer annotations in a file of its own, added to ``app.py``; it calls the Python
function of the same name and prints what that returns: as text, or with ``--json`` as one JSON object on
standard output with everything else on standard error.
"""

from tailgrad.cli.app import main

__all__ = ["main"]
