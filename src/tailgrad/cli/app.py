"""The Typer application, and what happens to errors."""

import io
import re
import sys
from typing import Annotated

import typer

from tailgrad.checks import InputError
from tailgrad.cli.audit import audit
from tailgrad.cli.audit_claims import audit_claims
from tailgrad.cli.compare import compare
from tailgrad.cli.diagnose import diagnose
from tailgrad.cli.doctor import doctor
from tailgrad.cli.export import export
from tailgrad.cli.help import Taught, exit_codes
from tailgrad.cli.methods import methods
from tailgrad.cli.new import new
from tailgrad.cli.output import err, printable
from tailgrad.cli.predict import predict
from tailgrad.cli.reliability import reliability
from tailgrad.cli.report import report
from tailgrad.cli.reproduce import reproduce
from tailgrad.cli.resume import resume_command
from tailgrad.cli.study import study
from tailgrad.cli.table import table
from tailgrad.cli.train import train
from tailgrad.cli.watch import watch

COMMANDS = (
    audit,
    new,
    train,
    watch,
    diagnose,
    compare,
    table,
    report,
    reliability,
    predict,
    export,
    methods,
    study,
    reproduce,
    audit_claims,
    doctor,
)
RESUMABLE = ("train", "compare", "study", "reproduce")

app = typer.Typer(
    help="See which classes fight over your network's gradients, give the rare ones a fair share, and prove "
    "that it helped. Start with: tailgrad audit SOURCE, then tailgrad compare SOURCE.",
    epilog=exit_codes(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command(cls=Taught)(command)


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
    _print_anything()
    try:
        app(prog_name="tailgrad")
    except (InputError, OSError) as error:  # OSError: a path too long, a disk that fails
        _stop(_one_line(error), 2)
    except SystemExit as stop:
        if stop.code == 130:  # Typer's word for Ctrl-C
            _stop(f"interrupted{_how_to_resume()}", 130)
        raise
    except Exception as error:
        from tailgrad.engine import Diverged, Interrupted

        if isinstance(error, Interrupted):
            _stop(f"{error}{_how_to_resume()}", 130)
        if isinstance(error, Diverged):
            _stop(_one_line(error), 1)
        raise


def _print_anything() -> None:
    """Let names that a terminal's encoding lacks come out as escapes and not as an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one_line(error: Exception) -> str:
    """The message in one line; a table that follows it in lines of its own stays one."""
    message, _, table = str(error).partition("\nclass prior of ")
    shown = "error: " + re.sub(r"\s*\n\s*", " ", message)
    return f"{shown}\nclass prior of {table}" if table else shown


def _how_to_resume() -> str:
    if not set(RESUMABLE) & set(sys.argv[1:2]):
        return ""
    return f"\nresume with: {resume_command(sys.argv)}"


def _stop(message: str, status: int) -> None:
    shown = "\n".join(printable(line) for line in message.split("\n"))
    err().print(shown, style=None, markup=False, highlight=False)
    sys.exit(status)
