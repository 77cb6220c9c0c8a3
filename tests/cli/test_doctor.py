"""What the doctor finds: versions that do not fit, packages that do not load, and how it ends."""

import builtins
from importlib import import_module
from typing import Any

import pytest

from tailgrad.recipes import checkup_packages
from tailgrad.recipes.checkup_hardware import hardware_findings
from tailgrad.recipes.checkup_packages import package_findings, packages


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions that stand in for installed ones."""
    real, told = checkup_packages.version, {}
    monkeypatch.setattr(checkup_packages, "version", lambda name: told.get(name) or real(name))
    return told


def test_a_fine_machine_ends_with_status_0(cli: Any) -> None:
    done = cli("doctor")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "Nothing is broken."
    assert "tensorboard" in done.out


def test_torchvision_for_another_torch_is_broken(cli: Any, versions: dict[str, str]) -> None:
    versions["torch"] = "2.7.1+cpu"
    done = cli("doctor")
    assert done.status == 1
    assert "broken: torchvision" in done.out
    assert done.out.splitlines()[-1] == "Something is broken."


@pytest.mark.parametrize(("name", "version"), [("torch", "1.13.0"), ("typer", "0.1")])
def test_an_old_package_is_broken_and_the_remedy_names_the_range(
    versions: dict[str, str], name: str, version: str
) -> None:
    versions[name] = version
    found = [one for one in package_findings(*packages()) if one[1].startswith(f"{name} ")]
    assert [(level, remedy) for level, _, remedy in found] == [
        ("broken", f"pip install '{name}{wanted(name)}'")
    ]


def wanted(name: str) -> str:
    return str(packages()[0][name]["wanted"])


def test_an_old_extra_is_a_note(versions: dict[str, str]) -> None:
    versions["tensorboard"] = "1.0"
    found = [one for one in package_findings(*packages()) if "tensorboard 1.0" in one[1]]
    assert [level for level, *_ in found] == ["note"]


def test_a_local_version_is_judged_without_its_suffix(versions: dict[str, str]) -> None:
    needed = packages()[0]
    versions["torch"] = f"{needed['torch']['version'].partition('+')[0]}+cpu"
    assert not [one for one in package_findings(*packages()) if one[0] == "broken"]


def test_a_package_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch, cli: Any) -> None:
    def broken(name: str) -> Any:
        if name == "torch":
            raise OSError("libcudart.so.13: cannot open shared object file\nmore")
        return builtins.__import__(name)

    monkeypatch.setattr(import_module("tailgrad.recipes.checkup"), "import_module", broken)
    done = cli("doctor")
    assert done.status == 1
    assert "broken: torch cannot be loaded: OSError: libcudart.so.13: cannot open" in done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"GPUs": [], "NVIDIA driver": "found"}, "There is an NVIDIA driver, and torch sees no GPU"),
        ({"GPUs": [], "NVIDIA driver": "not found"}, "No GPU was found"),
        ({"GPUs": ["a"], "free disk here, GB": 0.1}, "Only 0.1 GB are free on this disk."),
    ],
)
def test_hardware_is_never_broken(facts: dict[str, Any], said: str) -> None:
    usual = {"free memory, GB": 9.0, "free disk here, GB": 9.0, "CUDA built into torch": "no"}
    found = list(hardware_findings(usual | facts))
    assert [level for level, *_ in found] == ["note"]
    assert found[0][1].startswith(said)
