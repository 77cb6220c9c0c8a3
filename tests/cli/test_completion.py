"""What a shell is offered, asked as bash asks: by environment variables, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tailgrad.recipes import named


def offered(line: str, folder: Path) -> list[str]:
    """What bash gets for the last word of a line."""
    words = line.split(" ")
    asked = {"_TAILGRAD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv = ['tailgrad']; from tailgrad.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("tailgrad wat", ["watch"]),
        ("tailgrad train --recip", ["--recipe"]),
        ("tailgrad train digits-lt --method csba_f", ["csba_frozen_gates"]),
        ("tailgrad compare digits-lt --methods baseline,csba_f", ["baseline,csba_frozen_gates"]),
        ("tailgrad compare digits-lt --regime digi", ["digits-multi", "digits"]),
        ("tailgrad train digits-lt --recipe qu", ["quick"]),
        ("tailgrad train digits-lt --set optim.l", ["optim.lr="]),
        ("tailgrad train digits-lt --logger m", ["mlflow"]),
        ("tailgrad methods csba-paper-a", ["csba-paper-alt"]),
        ("tailgrad audit digi", ["digits-lt", "digits-multi-lt"]),
        ("tailgrad reproduce csba-p", ["csba-pv"]),
    ],
)
def test_bash_is_offered_names(line: str, wanted: list[str], tmp_path: Path) -> None:
    assert offered(line, tmp_path) == wanted


def test_every_regime_is_offered_and_nothing_else(tmp_path: Path) -> None:
    assert offered("tailgrad train digits-lt --regime ", tmp_path) == list(named("regimes"))
