"""The Typer application, and what happens to errors."""

import sys
from typing import Annotated

import typer

from tailgrad.checks import InputError
from tailgrad.cli.audit import audit
from tailgrad.cli.compare import compare
from tailgrad.cli.diagnose import diagnose
from tailgrad.cli.methods import methods
from tailgrad.cli.output import err
from tailgrad.cli.predict import predict
from tailgrad.cli.report import report
from tailgrad.cli.table import table
from tailgrad.cli.train import train

COMMANDS = (audit, train, diagnose, compare, table, report, predict, methods)

app = typer.Typer(
    help="See which classes fight over your network's gradients, give the rare ones a fair share, and prove "
    "that it helped. Start with: tailgrad audit SOURCE, then tailgrad compare SOURCE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from tailgrad import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line: status 2 on bad input, 1 on a run that diverged, 130 on Ctrl-C.

    Example:
        >>> import sys
        >>> sys.argv = ["tailgrad", "--version"]
        >>> try:
        ...     main()
        ... except SystemExit as exit:
        ...     print(exit.code)
        0.1.0.dev0
        0
    """
    try:
        app()
    except InputError as error:
        _stop(f"error: {error}", 2)
    except KeyboardInterrupt:
        _stop("interrupted", 130)
    except Exception as error:
        from tailgrad.engine import Diverged, Interrupted

        if isinstance(error, Interrupted):
            _stop(f"{error}\nresume with: {resume_command(sys.argv)}", 130)
        if isinstance(error, Diverged):
            _stop(f"error: {error}", 1)
        raise


def resume_command(argv: list[str]) -> str:
    """The command that goes on with an interrupted one.

    Example:
        >>> resume_command(["/usr/bin/tailgrad", "train", "my photos"])
        "tailgrad train 'my photos' --resume"
    """
    import shlex

    words = ["tailgrad", *argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def _stop(message: str, status: int) -> None:
    err().print(message, style=None, markup=False, highlight=False)
    sys.exit(status)
