"""What a run settles on before it trains: measured, written down, kept on resume and in a study."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.cli.options import overrides_of
from tailgrad.engine import Trial, check_compiler, load_weights
from tailgrad.recipes import compare, speed, speed_cache, train
from tailgrad.recipes.assemble import make_optimizer
from tailgrad.recipes.config import Config, OptimConfig
from tailgrad.recipes.run_folder import SETTLED, RunFolder
from tailgrad.recipes.speed import settle, threads_of
from tailgrad.recipes.speed_cache import cache_file, recall, remember

SIZE = (8, 8)
KEY = {"model": "resnet32"}
PLAIN = Trial("float32", channels_last=False, seconds=1.0)


def _net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))


def _config(**settings: Any) -> Config:
    return Config(source="x", train={"batch_size": 4, "epochs": 100, **settings})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tailgrad"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[list[Trial]]:
    """Set times in place of measured ones: half for bfloat16, and again half compiled; the ways asked for."""
    asked: list[list[Trial]] = []

    def time_ways(_model: object, _images: object, ways: Sequence[Trial], **_: object) -> list[Trial]:
        asked.append(list(ways))
        return [_timed(way) for way in ways]

    monkeypatch.setattr(speed, "time_ways", time_ways)
    monkeypatch.setattr(speed, "check_compiler", lambda *_, **__: None)
    return asked


def _timed(way: Trial) -> Trial:
    seconds = 1.0 * (0.5 if way.precision == "bfloat16" else 1) * (0.95 if way.channels_last else 1)
    is_compiled = way.compile != "off"
    seconds *= (0.5 if is_compiled else 1) * (0.8 if way.fused else 1)
    return replace(way, seconds=seconds, compile_seconds=30.0 * is_compiled)


def test_nothing_is_auto_any_more() -> None:
    found = settle(_config(), _net(), SIZE)
    assert set(found.keys) == {key for key, section in SETTLED.items() if section == "train"}
    assert "auto" not in found.keys.values()
    assert found.keys["threads"] == torch.get_num_threads()
    assert (found.keys["compile"], found.keys["fused"]) == ("off", False)
    assert found.seconds > 0


def test_what_is_set_is_kept() -> None:
    given = {"precision": "bfloat16", "channels_last": True, "compile": "off", "fused": True, "threads": 1}
    assert settle(_config(**given), _net(), SIZE).keys == given


def test_the_short_trial_leaves_compile_and_fused_alone(clock: list[list[Trial]], cache: Path) -> None:
    found = settle(_config(), _net(), SIZE, 400)
    first, ways = clock
    assert first == ways[:1], "one way alone says how many images the others are tried on"
    assert {(way.precision, way.channels_last) for way in ways} == {
        (p, c) for p in ("float32", "bfloat16") for c in (False, True)
    }
    assert not any(way.fused or way.compile != "off" for way in ways)
    assert (found.keys["precision"], found.keys["channels_last"]) == ("bfloat16", True)
    assert not cache.exists()


@pytest.mark.parametrize(("an_image", "tried"), [(1.0, 8), (0.02, 25), (0.001, 64)])
def test_the_short_trial_takes_half_a_second_a_step(
    an_image: float, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def time_ways(_model: object, images: Tensor, ways: Sequence[Trial], **_: object) -> list[Trial]:
        sizes.append(len(images))
        return [replace(way, seconds=an_image * len(images)) for way in ways]

    monkeypatch.setattr(speed, "time_ways", time_ways)
    found = settle(_config(batch_size=64), _net(), SIZE, 400)
    assert sizes == [8, tried]
    assert found.seconds == pytest.approx(an_image * 64), "of the whole batch"


def test_the_long_trial_tries_all_and_is_made_once(clock: list[list[Trial]], cache: Path) -> None:
    said: list[str] = []
    config = _config(compile="auto", fused="auto")
    found = settle(config, _net(), SIZE, 400, said.append)
    assert found.keys == {
        "precision": "bfloat16",
        "channels_last": True,
        "compile": "default",
        "fused": True,
        "threads": torch.get_num_threads(),
    }
    assert found.seconds == pytest.approx(0.5 * 0.95 * 0.5 * 0.8)
    assert len([line for line in said[0].splitlines() if "ms" in line]) == 4 + 1 + 2
    assert "> bfloat16, channels last, fused update, compile default" in said[0]
    assert "compiled in 30 s, pays after 158 steps" in said[0]  # 30 / (0.38 - 0.19)
    asked = len(clock)
    assert settle(config, _net(), SIZE, 400, said.append) == found
    assert len(clock) == asked
    assert "measured before" in said[-1]
    assert len(list(cache.iterdir())) == 1


def test_a_shorter_run_draws_another_conclusion_from_the_same_trial(clock: list[list[Trial]]) -> None:
    tuned = {"compile": "auto", "fused": "auto"}
    settle(_config(**tuned), _net(), SIZE, 400)
    short = settle(_config(**tuned, epochs=3), _net(), SIZE, 400)
    assert (short.keys["compile"], short.keys["fused"]) == ("off", True)
    assert len(clock) == 3  # none for the second run


def test_a_run_too_short_does_not_try_to_compile(clock: list[list[Trial]], cache: Path) -> None:
    said: list[str] = []
    found = settle(_config(compile="auto", epochs=1), _net(), SIZE, 4, said.append)
    assert found.keys["compile"] == "off"
    assert "torch.compile is not tried" in said[0]
    assert not cache.exists()  # a longer run has more to measure


def test_without_a_compiler_the_run_goes_on_and_says_so_once(
    clock: list[list[Trial]], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "check_compiler", check_compiler)
    monkeypatch.setattr(torch, "compile", _broken)
    said: list[str] = []
    found = settle(_config(compile="auto"), _net(), SIZE, 400, said.append)
    assert found.keys["compile"] == "off"
    assert [line for line in said if "needs a compiler that works" in line] == [
        "train.compile needs a compiler that works, got RuntimeError: no compiler; the run goes on without"
    ]
    assert not cache.exists()  # there may be one the next time
    with pytest.raises(InputError, match="no compiler; set train.compile=off, or install one"):
        settle(_config(compile="default"), _net(), SIZE, 400)


def test_a_network_that_cannot_be_compiled_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_ways(_model: object, _images: object, ways: Sequence[Trial], **_: object) -> list[Trial]:
        if any(way.compile != "off" for way in ways):
            raise RuntimeError("backend='inductor' raised\nlong story")
        return [_timed(way) for way in ways]

    monkeypatch.setattr(speed, "time_ways", time_ways)
    monkeypatch.setattr(speed, "check_compiler", lambda *_, **__: None)
    said: list[str] = []
    assert settle(_config(compile="auto"), _net(), SIZE, 400, said.append).keys["compile"] == "off"
    assert said[0] == (
        "torch.compile failed with this network (backend='inductor' raised); the run goes on without"
    )


def _broken(*_: object, **__: object) -> Any:
    raise RuntimeError("no compiler")


def test_a_method_that_cannot_be_compiled_tries_no_compilation(clock: list[list[Trial]]) -> None:
    config = _config(compile="auto").model_copy(
        update={"sharpness": Config(source="x", sharpness={"name": "sam"}).sharpness}
    )
    assert settle(config, _net(), SIZE, 400).keys["compile"] == "off"
    assert all(way.compile == "off" for ways in clock for way in ways)


def test_trials_are_kept_by_key(cache: Path) -> None:
    assert remember(KEY, [PLAIN])
    assert recall(KEY) == [PLAIN]
    assert recall(KEY | {"threads": 2}) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 5000,
        '{"key": {"model": "resnet32"}}',
        '{"key": {"model": "other"}, "trials": []}',
        '{"key": {"model": "resnet32"}, "trials": [{"precision": "float32"}]}',
        '{"key": {"model": "resnet32"}, "trials": [3]}',
        '{"key": {"model": "resnet32"}, "trials": {"a": 1}}',
    ],
)
def test_a_broken_cache_is_no_cache(content: str, cache: Path) -> None:
    remember(KEY, [PLAIN])
    cache_file(KEY).write_text(content)
    assert recall(KEY) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": -1},
        {"seconds": "fast"},
        {"seconds": float("inf")},
        {"compile_seconds": float("nan")},
        {"precision": "int8"},
        {"compile": "max"},
        {"fused": "yes"},
        {"channels_last": 1},
        {"more": 1},
    ],
)
def test_a_cache_with_a_wrong_value_is_no_cache(wrong: dict[str, Any], cache: Path) -> None:
    remember(KEY, [PLAIN])
    content = json.loads(cache_file(KEY).read_text())
    content["trials"][0] |= wrong
    cache_file(KEY).write_text(json.dumps(content))
    assert recall(KEY) == []


def test_a_home_that_cannot_be_written_is_no_error(
    clock: list[list[Trial]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said: list[str] = []
    settle(_config(fused="auto"), _net(), SIZE, 400, said.append)
    assert "could not be kept" in said[0]


def test_the_cache_of_a_user_without_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_file(KEY).parent == tmp_path / ".cache" / "tailgrad"


def test_threads_are_those_of_the_run_and_are_put_back() -> None:
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        with threads_of(_config(threads=3)):
            seen.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [3]
    assert torch.get_num_threads() == before


def test_the_processor_has_a_name() -> None:
    assert speed_cache.processor()


def test_a_run_keeps_what_it_settled(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    settings = {
        **fast,
        "model": {"name": "resnet8"},
        "train": {**fast["train"], "epochs": 3, "threads": "auto"},
    }
    stopped = {**settings, "train": {**settings["train"], "max_minutes": 1e-9}}
    whole = train(photos, "quick", overrides=settings, out=tmp_path / "whole")
    part = train(photos, "quick", overrides=stopped, out=tmp_path / "part")
    assert part.result["status"] == "stopped"
    written = yaml.safe_load((tmp_path / "part" / "config.yaml").read_text())["train"]
    assert written["threads"] == before
    try:
        torch.set_num_threads(before + 1)
        resumed = train(photos, "quick", overrides=settings, out=tmp_path / "part", resume=True)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert resumed.folder.joinpath("config.yaml").read_text().count(f"threads: {before}\n") == 1
    weights = [load_weights(RunFolder(run.folder).weights)[0] for run in (whole, resumed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_another_number_of_threads_is_refused_on_resume(
    photos: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    small = {**fast, "model": {"name": "resnet8"}}
    settings = {**small, "train": {**fast["train"], "threads": 1, "max_minutes": 1e-9}}
    train(photos, "quick", overrides=settings, out=tmp_path / "run")
    other = {**small, "train": {**fast["train"], "threads": 2}}
    with pytest.raises(InputError, match=r"train\.threads must stay"):
        train(photos, "quick", overrides=other, out=tmp_path / "run", resume=True)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Compilation that leaves the code as it is and counts its calls."""
    calls: list[int] = []

    def compile(call: Callable[..., Any], **_: object) -> Callable[..., Any]:  # noqa: A001 - torch's name
        def run(*inputs: Any, **more: Any) -> Any:
            calls.append(len(inputs[0]))
            return call(*inputs, **more)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    return calls


@pytest.mark.parametrize(
    ("method", "is_compiled"),
    [("baseline", True), ("sam", False), ("crt", True), ("ride", True), ("bbn", False)],
)
def test_methods_train_alike_with_compilation(
    photos: Path, fast: dict[str, Any], tmp_path: Path, counted: list[int], method: str, is_compiled: bool
) -> None:
    ends = []
    for mode in ("off", "default"):
        settings = {
            **fast,
            "model": {"name": "resnet8"},
            "train": {**fast["train"], "epochs": 1, "compile": mode},
        }
        made = train(photos, "quick", method=method, overrides=settings, out=tmp_path / mode)
        ends.append(load_weights(RunFolder(made.folder).weights)[0])
        if mode == "off":
            assert counted == []
    training = [n for n in counted if n > 2]
    assert bool(training) == is_compiled
    assert set(training) <= {fast["train"]["batch_size"]}
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_a_study_settles_once_for_all(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    settings = {
        **fast,
        "model": {"name": "resnet8"},
        "train": {**fast["train"], "epochs": 1, "clip_norm": 0.5, "fused": True},
    }
    study = compare(
        photos, ["baseline", "focal"], seeds=1, regime="quick", overrides=settings, out=tmp_path / "s"
    )
    once = json.loads((study.folder / "speed.json").read_text())
    assert set(SETTLED) == set(once)
    for path in (study.folder / "runs").glob("*/config.yaml"):
        written = yaml.safe_load(path.read_text())
        assert {key: written[section][key] for key, section in SETTLED.items()} == once


def test_the_option_asks_for_what_is_not_set_by_name() -> None:
    assert overrides_of(None, tune_speed=True) == {"train": {"compile": "auto", "fused": "auto"}}
    above = overrides_of(["train.compile=off"], tune_speed=True)
    found = Config(source="x", **above).train
    assert (found.compile, found.fused) == ("off", "auto")
    assert overrides_of(None) == {}


def test_fused_and_plain_optimisers_step_alike() -> None:
    for name in ("sgd", "adam", "adamw"):
        ends = []
        for fused in (False, True):
            weight = nn.Parameter(torch.ones(5))
            optimizer = make_optimizer(OptimConfig(name=name, weight_decay=0.1), [weight], fused=fused)
            for k in range(4):
                weight.grad = torch.linspace(-k, 1, 5)
                optimizer.step()
            assert bool(optimizer.param_groups[0]["fused"]) == fused
            ends.append(weight.detach())
        torch.testing.assert_close(*ends, msg=name)
