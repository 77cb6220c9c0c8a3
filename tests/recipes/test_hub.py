"""Pretrained weights that cannot be had: said in one line, without a minute of retries."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tailgrad.checks import InputError
from tailgrad.recipes import hub
from tailgrad.recipes.assemble import make_model
from tailgrad.recipes.compose import compose


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Neither a server nor a cache of weights; gives the number of times the server was asked."""
    asked: list[str] = []

    class Nobody:
        def head(self, *address: str, **_: float) -> None:
            asked.extend(address)
            raise OSError("Name or service not known")

    monkeypatch.setattr(hub, "get_session", Nobody)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.hub_answers.cache_clear()
    yield asked
    hub.hub_answers.cache_clear()


def test_auto_trains_from_scratch_with_one_plain_notice(
    no_network: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    config = compose("digits-lt", "folder", "baseline")
    for _ in range(2):
        make_model(config, 10, said.append)
    notice = (
        "training from scratch: pretrained weights of timm/resnet18 could not be had here "
        "(neither in the cache nor to be fetched); run once where there is a network, or "
        "set model.pretrained=false to mean it"
    )
    assert said == [notice, notice]
    assert capfd.readouterr() == ("", "")
    assert no_network == [constants.ENDPOINT], "asked once, whatever the number of runs"
    assert constants.HF_HUB_OFFLINE is False


def test_weights_that_are_demanded_are_refused_at_once(no_network: list[str]) -> None:
    config = compose("digits-lt", "folder", "baseline", {"model": {"pretrained": True}})
    with pytest.raises(InputError, match="pretrained weights of timm/resnet18 must be at hand"):
        make_model(config, 10)


def test_a_server_that_answers_leaves_the_library_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Somebody:
        def head(self, *_: str, timeout: float) -> None:
            assert timeout == hub.SECONDS

    monkeypatch.setattr(hub, "get_session", Somebody)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.hub_answers.cache_clear()
    with hub.patient_only_if_reachable():
        assert constants.HF_HUB_OFFLINE is False
    hub.hub_answers.cache_clear()
