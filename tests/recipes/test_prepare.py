"""From a source to split, decoded data: what is in which part, at which size, and how it is normalised."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import Profile, load_images, open_source, resident
from tailgrad.recipes import copies, prepared
from tailgrad.recipes.compose import compose, merge
from tailgrad.recipes.config import Config, DataConfig
from tailgrad.recipes.configure import configure
from tailgrad.recipes.prepare import chosen_size, prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.thinning import profile_of, split_seed

NAMES = ("ant", "bee", "cow")
GIVEN = {"train": 30, "val": 9, "test": 12}
PLAIN = {"data": {"near_duplicates": False}}


def pictures(n: int, shape: tuple[int, int] = (40, 56)) -> list[np.ndarray]:
    random = np.random.default_rng(n)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(n)]


def parts_of(given: dict[str, int]) -> list[str]:
    return [part for part, count in given.items() for _ in range(count)]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_csv(folder: Path, given: dict[str, int]) -> Path:
    folder.mkdir()
    lines = ["path,label,split"]
    for i, (part, pixels) in enumerate(zip(parts_of(given), pictures(sum(given.values())), strict=True)):
        (folder / f"{i:03d}.png").write_bytes(png(pixels))
        lines.append(f"{i:03d}.png,{NAMES[i % 3]},{part}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


def write_parquet(folder: Path, given: dict[str, int]) -> Path:
    folder.mkdir()
    parts, encoded = np.array(parts_of(given)), [png(pixels) for pixels in pictures(sum(given.values()))]
    for part in given:
        chosen = np.flatnonzero(parts == part)
        table = {"image": [encoded[i] for i in chosen], "label": [NAMES[i % 3] for i in chosen]}
        pq.write_table(pa.table(table), folder / f"{part}-00000-of-00001.parquet")
    return folder


WRITERS = {"csv": write_csv, "parquet": write_parquet}


def ready(source: Any, above: dict[str, Any] | None = None, said: list[str] | None = None) -> Prepared:
    config = compose(str(source), "quick", "ce", merge(PLAIN, above or {}))
    return prepare(config, None, (said if said is not None else []).append)


@pytest.fixture(scope="module", params=WRITERS)
def given_source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = WRITERS[request.param]
    return writer(tmp_path_factory.mktemp("given") / request.param, GIVEN)


def test_given_parts_stay_as_they_are(given_source: Path) -> None:
    found = ready(given_source)
    for part, count in GIVEN.items():
        index = found.index(part)
        assert len(index) == count
        assert {found.source.given[i] for i in index} == {part}
    assert found.own_test
    assert found.split.seed == 0
    assert found.classes.counts == (10, 10, 10)
    assert found.classes.names == NAMES


@pytest.mark.parametrize("seed", [0, 3])
def test_given_parts_do_not_depend_on_the_seed(given_source: Path, seed: int) -> None:
    first, second = ready(given_source), ready(given_source, {"seed": seed})
    for part in GIVEN:
        np.testing.assert_array_equal(first.index(part), second.index(part))


def test_images_are_those_of_the_files_in_the_order_of_the_index(given_source: Path) -> None:
    found = ready(given_source, {"data": {"size": [40, 56]}})
    known = {pixels.tobytes() for pixels in pictures(sum(GIVEN.values()))}
    seen = []
    for part in GIVEN:
        for i, image in zip(found.index(part), found.images[part], strict=True):
            pixels = image.permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(pixels, found.source.items.load(int(i)))
            seen.append(pixels.tobytes())
    assert set(seen) == known
    assert len(seen) == len(known)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_missing_validation_part_is_carved_from_training(tmp_path: Path, kind: str) -> None:
    source = WRITERS[kind](tmp_path / kind, {"train": 60, "test": 12})
    found = ready(source, {"data": {"val": 0.25}})
    assert {part: len(found.index(part)) for part in GIVEN} == {"train": 45, "val": 15, "test": 12}
    assert {found.source.given[i] for i in found.index("val")} == {"train"}
    assert Counter(found.source.labels[found.index("val")].tolist()) == {0: 5, 1: 5, 2: 5}
    everything = np.concatenate([found.index(part) for part in GIVEN])
    assert sorted(everything.tolist()) == list(range(72))


@pytest.mark.parametrize(("kind", "factor"), [("exponential", 4), ("step", 5), ("pareto", 3)])
def test_a_profile_thins_training_by_its_formula(given_source: Path, kind: str, factor: int) -> None:
    found = ready(given_source, {"data": {"profile": kind, "imb_factor": factor}})
    shares = {
        "exponential": [factor ** (-c / 2) for c in range(3)],
        "step": [1, 1 / factor, 1 / factor],
        "pareto": [(c + 1) ** (-np.log(factor) / np.log(3)) for c in range(3)],
    }[kind]
    assert found.classes.counts == tuple(int(10 * share + 1e-9) for share in shares)
    assert (len(found.index("val")), len(found.index("test"))) == (9, 12)


def test_explicit_counts_are_kept_to_the_image(given_source: Path) -> None:
    found = ready(given_source, {"data": {"profile": "explicit", "counts": [10, 4, 1]}})
    assert found.classes.counts == (10, 4, 1)
    assert found.classes.imbalance_factor == 10


@pytest.mark.parametrize("mode", ["squash", "crop"])
@pytest.mark.parametrize("size", [(20, 28), (20, 20), (48, 16), (80, 112)])
def test_resizing_agrees_with_pillow_by_hand(given_source: Path, mode: str, size: tuple[int, int]) -> None:
    found = ready(given_source, {"data": {"size": list(size), "resize": mode}})
    height, width = 40, 56
    scale = min(height / size[0], width / size[1])
    left, top = ((width - size[1] * scale) / 2, (height - size[0] * scale) / 2) if mode == "crop" else (0, 0)
    for place in (0, 5):
        image = Image.fromarray(found.source.items.load(int(found.index("val")[place])))
        box = (left, top, width - left, height - top)
        wanted = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR, box=box))
        np.testing.assert_array_equal(found.images["val"][place].permute(1, 2, 0).numpy(), wanted)


@pytest.mark.parametrize("mode", ["squash", "crop"])
def test_streaming_gives_what_memory_gives(given_source: Path, mode: str) -> None:
    above = {"data": {"size": [24, 24], "resize": mode, "workers": 0}}
    kept = ready(given_source, above)
    streamed = ready(given_source, merge(above, {"data": {"resident_gb": 0.0}}))
    assert streamed.images is None
    for part in GIVEN:
        pairs = zip(kept.loader(part, 4), streamed.loader(part, 4), strict=True)
        for one, other in pairs:
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.target, other.target)
            assert torch.equal(one.index, other.index)
    assert kept.normalize().mean == pytest.approx(streamed.normalize().mean, abs=1e-6)


def test_normalisation_is_that_of_training_images_alone(given_source: Path) -> None:
    found = ready(given_source, {"data": {"size": [40, 56]}})
    pixels = np.stack([found.source.items.load(int(i)) for i in found.index("train")]) / 255
    assert found.normalize().mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-6)
    assert found.normalize().std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-6)


def test_loaders_go_through_a_part_once(given_source: Path) -> None:
    found = ready(given_source)
    for seed in (None, 1):
        batches = list(found.loader("train", 7, seed))
        index = torch.cat([batch.index for batch in batches])
        assert [len(batch) for batch in batches] == [7, 7, 7, 7, 2]
        assert sorted(index.tolist()) == found.index("train").tolist()
        assert (index.tolist() == found.index("train").tolist()) == (seed is None)
        target = torch.cat([batch.target for batch in batches])
        assert target.tolist() == found.source.labels[index.numpy()].tolist()


def test_mixed_parts_come_whole_in_one_fixed_order(given_source: Path) -> None:
    found = ready(given_source)
    first, again = (
        torch.cat([batch.index for batch in found.mixed(("val", "test"), 5)]).tolist() for _ in range(2)
    )
    assert first == again
    assert sorted(first) == sorted([*found.index("val"), *found.index("test")])
    assert first != [*found.index("val"), *found.index("test")]


def test_what_was_decided_is_said(given_source: Path) -> None:
    said: list[str] = []
    found = ready(given_source, {"data": {"size": [20, 30]}}, said)
    assert said == [
        f"{found.source.name}: 3 classes, 30 train, 9 val, 12 test (its own test set), imbalance factor 1.0, "
        "images 20 x 30 (height x width)",
        "decoded images (0.00 GB) live in memory: within data.resident_gb=4 and half of what is free",
    ]


def test_a_carved_split_follows_the_seed(photos: Path) -> None:
    splits = [ready(photos, {"seed": seed}) for seed in (0, 0, 1)]
    tests = [set(found.index("test").tolist()) for found in splits]
    assert tests[0] == tests[1] != tests[2]
    fixed = ready(photos, {"seed": 1, "split_seed": 0})
    assert set(fixed.index("test").tolist()) == tests[0]
    for found in splits:
        counts = np.bincount(found.source.labels[found.index("test")])
        assert counts.tolist() == [round(0.2 * n) for n in (24, 16, 10)]


@pytest.mark.parametrize("profile", [{"profile": "exponential", "imb_factor": 4}, {"imb_factor": 0.25}])
def test_thinning_a_carved_split_spares_its_test_part(photos: Path, profile: dict[str, Any]) -> None:
    whole, thinned = ready(photos), ready(photos, {"data": profile})

    def files(found: Prepared, part: str) -> set[str]:
        return {found.name(i) for i in found.index(part)}

    assert files(whole, "test") == files(thinned, "test")
    assert not (files(thinned, "test") & (files(thinned, "train") | files(thinned, "val")))
    assert sum(thinned.classes.counts) < sum(whole.classes.counts)
    assert thinned.split.seed == whole.split.seed == 0


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({}, None),
        ({"profile": "none"}, None),
        ({"imb_factor": 0.1}, Profile("exponential", 10)),
        ({"counts": [5, 3, 1]}, Profile("explicit", counts=(5, 3, 1))),
        ({"profile": "step", "imb_factor": 7}, Profile("step", 7)),
    ],
)
def test_profiles_are_read_from_the_configuration(data: dict[str, Any], wanted: Profile | None) -> None:
    source = open_source((pictures(6), [0, 1, 2] * 2))
    assert profile_of(source, DataConfig(**data)) == wanted


@pytest.mark.parametrize("data", [{"imb_factor": 3}, {"counts": [1, 1]}])
def test_numbers_without_a_profile_are_refused(data: dict[str, Any]) -> None:
    source = open_source((pictures(6), [0, 1, 2] * 2))
    with pytest.raises(InputError, match="need a profile, got profile=none"):
        profile_of(source, DataConfig(profile="none", **data))


@pytest.mark.parametrize(
    ("seed", "given", "own_test", "wanted"),
    [(4, None, False, 4), (4, None, True, 0), (4, 9, False, 9), (4, 9, True, 9), (0, 0, False, 0)],
)
def test_the_seed_of_the_split(seed: int, given: int | None, own_test: bool, wanted: int) -> None:
    assert split_seed(Config(source="x", seed=seed, split_seed=given), own_test) == wanted


@pytest.mark.parametrize(
    ("shape", "data", "needed", "wanted"),
    [
        ((8, 8), {}, None, (32, 32)),
        ((40, 24), {}, None, (80, 48)),
        ((120, 90), {}, None, (224, 224)),
        ((120, 90), {"fallback_size": 96}, None, (96, 96)),
        ((120, 90), {}, (384, 384), (384, 384)),
        ((40, 24), {}, (384, 384), (80, 48)),
        ((40, 24), {"size": 50}, (384, 384), (50, 50)),
        ((40, 24), {"size": (10, 70)}, None, (10, 70)),
    ],
)
def test_the_size_of_the_images(
    shape: tuple[int, int], data: dict[str, Any], needed: tuple[int, int] | None, wanted: tuple[int, int]
) -> None:
    source = open_source((pictures(4, shape), [0, 1, 0, 1]))
    assert chosen_size(source, DataConfig(**data), needed) == wanted


def test_unreadable_files_are_refused_at_once_or_passed_over(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "csv", GIVEN)
    for i in range(7):
        (tmp_path / "csv" / f"{i:03d}.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"got 7 that are not \('000\.png': .*; and 2 more\)"):
        ready(source)
    kept = ready(source, {"data": {"skip_unreadable": True}})
    assert len(kept.index("train")) == GIVEN["train"] - 7


def test_a_class_in_focus_must_exist(given_source: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'bee'"):
        ready(given_source, {"focus": "be"})


def test_no_other_part_can_be_asked_for(given_source: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'train'"):
        ready(given_source).index("trian")


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_data_are_those_of_memory(given_source: Path, workers: int) -> None:
    above = {"data": {"size": [20, 28], "workers": workers}}
    said: list[str] = []
    memory = ready(given_source, merge(above, {"data": {"resident": "memory"}}))
    stream = ready(given_source, merge(above, {"data": {"resident": "stream"}}), said)
    assert memory.images is not None
    assert stream.images is None
    assert any("decoded while training" in text for text in said)
    assert (stream.normalize().mean, stream.normalize().std) == (
        memory.normalize().mean,
        memory.normalize().std,
    )
    for part, seed in (("train", 3), ("val", None), ("test", None)):
        pairs = zip(memory.loader(part, 7, seed), stream.loader(part, 7, seed), strict=True)
        for a, b in pairs:
            assert torch.equal(a.inputs, b.inputs)
            assert torch.equal(a.index, b.index)
    assert stream.loader("train", 7).reading.workers == workers


def test_figures_of_many_images_come_from_the_same_ones_wherever_they_live(
    given_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "_LOOKED_AT", 10)
    streamed = ready(given_source, {"data": {"resident": "stream"}})
    found = streamed.normalize()
    assert found.mean == ready(given_source).normalize().mean
    chosen = load_images(streamed.source, streamed.index("train")[::3], streamed.size).double() / 255
    np.testing.assert_allclose(found.mean, chosen.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(found.std, chosen.std((0, 2, 3), correction=0), atol=1e-6)


def test_copies_among_many_images_are_looked_for_by_their_bytes(
    given_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MANY", 50)
    asked: list[dict[str, Any]] = []
    search = copies.duplicate_groups

    def asking(source: Any, *, progress: Any, **how: Any) -> Any:
        asked.append(how)
        return search(source, progress=progress, **how)

    monkeypatch.setattr(copies, "duplicate_groups", asking)
    said: list[str] = []
    ready(given_source, said=said)
    ready(given_source, {"data": {"near_duplicates": True}}, said)
    assert asked == [{"near": False, "stored": True}, {"near": True, "stored": False}]
    assert said[0] == "looking for copies among 51 images, byte for byte"
    assert "data.near_duplicates=false is faster" in " ".join(said)


def test_the_size_of_many_images_is_that_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    items = open_source((np.zeros((50, 8, 8), np.uint8), [0, 1] * 25))
    looked: list[int] = []
    monkeypatch.setattr(type(items.items), "size", lambda _, i: looked.append(i) or (8, 8))
    monkeypatch.setattr(resident, "_LOOKED_AT", 10)
    assert resident.default_size(items, 224) == (32, 32)
    assert looked == list(range(0, 50, 5))


def test_each_run_counts_for_itself_what_it_cannot_read(given_source: Path) -> None:
    shared = ready(given_source, {"data": {"resident": "stream", "on_unreadable": "skip"}})
    first, second = shared.for_run(), shared.for_run()
    first.reading.passed_over.add("x.png", "gone")
    assert (len(first.reading.passed_over), len(second.reading.passed_over)) == (1, 0)
    assert first.loader("train", 4, 0).reading.passed_over is first.reading.passed_over
    assert first.split is shared.split


def test_options_of_the_source_are_taken_once(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "b.png")
    rows = "\n".join(f"{name}.png {k}" for k in (0, 1) for name in ["ab"[k]] * 8)
    (tmp_path / "toy_train.txt").write_text(rows + "\n")
    (tmp_path / "list.csv").write_text("file,kind\n" + "".join(f"{n}.png,{n}\n" for n in "abababababab"))
    quick = {"near_duplicates": False, "size": 8}
    for source, options in (
        (tmp_path / "toy_train.txt", {"root": str(tmp_path)}),
        (tmp_path / "list.csv", {"image_column": "file", "label_column": "kind"}),
    ):
        config, opened = configure(source, overrides={"data": quick | options})
        assert opened.num_classes == 2
        assert prepare(config, opened, groups=np.arange(len(opened.labels))).classes.num_classes == 2
