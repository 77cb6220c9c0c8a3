"""Use tailgrad as somebody does who has only the wheel; `make release` runs this in an empty environment."""

import importlib
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tailgrad

# What needs an extra says so when it is used, so every module must come in without one.
NEEDS_ITS_FRAMEWORK = ("tailgrad.integrations.",)
COMMANDS = (
    ["--version"],
    ["--help"],
    ["methods", "csba"],
    ["audit", "digits-lt"],
    ["audit-claims", "csba-pv"],
    ["train", "digits-lt", "--regime", "quick", "--set", "train.epochs=1", "--out", "run"],
    ["report", "run"],
    ["diagnose", "run"],
)


def main() -> None:
    assert "site-packages" in str(Path(tailgrad.__file__)), f"not the installed package: {tailgrad.__file__}"
    for module in pkgutil.walk_packages(tailgrad.__path__, "tailgrad."):
        if not module.name.startswith(NEEDS_ITS_FRAMEWORK) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            print("$ tailgrad", *command, flush=True)
            subprocess.run(
                [sys.executable, "-m", "tailgrad", *command],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
            )


if __name__ == "__main__":
    main()
