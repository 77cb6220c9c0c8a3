"""WebDataset shards: read where they lie, however they were written and whatever they hold."""

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import UnreadableImage, open_source, tar_index


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (5, 3), shade).save(file, "PNG")
    return file.getvalue()


def write(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(shades: list[int], labels: list[object]) -> list[tuple[str, bytes]]:
    return [
        member
        for shade, label in zip(shades, labels, strict=True)
        for member in ((f"{shade:04d}.png", png(shade)), (f"{shade:04d}.cls", str(label).encode()))
    ]


def test_one_tar(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "toy.tar", samples([3, 1, 2], ["dog", "cat", "dog"])))
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [1, 0, 1]
    assert [int(source.items.load(i).max()) for i in range(3)] == [3, 1, 2]
    assert source.items.stored(1) == png(1)
    assert (source.items.name(0), source.items.format(0), source.items.size(0)) == (
        "toy.tar/0003.png",
        "PNG",
        (3, 5),
    )
    assert source.given == ("", "", "")


@pytest.mark.parametrize("nested", [False, True])
def test_shards_give_the_split_by_their_names_or_folders(tmp_path: Path, nested: bool) -> None:
    for part, shades in {
        "train-000000": [1, 2],
        "train-000001": [3],
        "val-000000": [4],
        "test-0": [5],
    }.items():
        name = f"{part.partition('-')[0]}/{part[-1]}.tar" if nested else f"toy-{part}.tar"
        write(tmp_path / name, samples(shades, [shade % 2 for shade in shades]))
    source = open_source(tmp_path)
    found = {int(source.items.load(i).max()): source.given[i] for i in range(5)}
    assert found == {1: "train", 2: "train", 3: "train", 4: "val", 5: "test"}
    assert [int(source.items.load(i).max()) % 2 for i in range(5)] == source.labels.tolist()
    assert len({source.items.name(i) for i in range(5)}) == 5


def test_a_folder_of_class_folders_with_an_archive_beside_them_stays_one(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(1))
    write(tmp_path / "photos.tar", samples([1], ["x"]))
    assert open_source(tmp_path).class_names == ("cat", "dog")


def test_labels_from_json_and_a_field_by_name(tmp_path: Path) -> None:
    members = []
    for i, (label, kind) in enumerate([(1, "a"), (0, "b"), (1, "b")]):
        content = json.dumps({"label": label, "kind": kind, "caption": "?"}).encode()
        members += [(f"x/{i}.jpg", png(i)), (f"x/{i}.json", content), (f"x/{i}.txt", b"a caption")]
    file = write(tmp_path / "a.tar", members)
    assert open_source(file).labels.tolist() == [1, 0, 1]
    assert open_source(file, label_column="kind").class_names == ("a", "b")
    with pytest.raises(InputError, match=r"a\.tar/x/0\.json must hold a class .* in 'other'"):
        open_source(file, label_column="other")


def test_keys_end_at_the_first_dot_and_other_members_are_passed_over(tmp_path: Path) -> None:
    members = [
        ("./a/1.seg.png", png(9)),
        ("./a/1.JPG", png(1)),
        ("./a/1.cls", b"0"),
        ("__index__.json", b"{}"),
        ("b.v2/1.png", png(2)),
        ("b.v2/1.cls", b"1"),
    ]
    source = open_source(write(tmp_path / "a.tar", members))
    assert [source.items.name(i) for i in range(2)] == ["a.tar/a/1.jpg", "a.tar/b.v2/1.png"]
    assert [int(source.items.load(i).max()) for i in range(2)] == [1, 2]
    assert source.ignored == ("a.tar/__index__",)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_dialect_of_tar_with_long_and_foreign_names(tmp_path: Path, kind: int) -> None:
    long = "/".join(["folder" * 5] * 4) + "/000001" if kind == tarfile.USTAR_FORMAT else "é" * 120 + "/1"
    file = write(
        tmp_path / "a.tar", [(f"{long}.png", png(4)), (f"{long}.cls", b"0"), *samples([5], [1])], kind
    )
    source = open_source(file)
    assert source.items.name(0) == f"a.tar/{long}.png"
    assert [int(source.items.load(i).max()) for i in range(2)] == [4, 5]


def test_links_and_folders_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w") as tar:
        for name, kind in (
            ("a", tarfile.DIRTYPE),
            ("a/9.png", tarfile.SYMTYPE),
            ("a/8.png", tarfile.LNKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, data in samples([1, 2], [0, 1]):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert len(open_source(file).items) == 2


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "a\\x.png", "a\x1b[31m.png"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "in" / "a.tar", [*samples([1, 2], [0, 1]), (name, png(3)), ("x.cls", b"1")])
    with pytest.raises(InputError, match=r"members of 'a\.tar' must have plain relative names, got "):
        open_source(file)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_sample_without_a_class_a_key_that_comes_twice_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sample 'a\.tar/7' must have a \.cls member.*got \.png, \.txt"):
        open_source(write(tmp_path / "a.tar", [*samples([1], [0]), ("7.png", png(7)), ("7.txt", b"7")]))
    with pytest.raises(InputError, match=r"lie together in 'b\.tar', got the key '0001' again"):
        open_source(write(tmp_path / "b.tar", [*samples([1, 2], [0, 1]), *samples([1], [0])]))
    with pytest.raises(InputError, match=r"shards must hold images, got none in 1 tars such as 'c\.tar'"):
        open_source(write(tmp_path / "c.tar", []))
    with pytest.raises(InputError, match=r"label of d\.tar/0002\.png must not be blank"):
        open_source(write(tmp_path / "d.tar", samples([1, 2], ["x", " "])))
    with pytest.raises(InputError, match=r"e\.tar/1\.cls must be text in UTF-8"):
        open_source(write(tmp_path / "e.tar", [("1.png", png(1)), ("1.cls", b"\xff")]))
    with pytest.raises(InputError, match=r"f\.tar/1\.cls must have at most 1048576 bytes, got 1048577"):
        open_source(write(tmp_path / "f.tar", [("1.png", png(1)), ("1.cls", bytes(tar_index.MAX_SMALL + 1))]))
    with pytest.raises(InputError, match=r"g\.tar/1\.json must be JSON"):
        open_source(write(tmp_path / "g.tar", [("1.png", png(1)), ("1.json", b"[" * 9999)]))


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\x1f\x8b\x08" + bytes(600)])
def test_what_is_no_tar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar.* must"):
        open_source(tmp_path / "a.tar")


def test_a_compressed_tar_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(InputError, match=r"'a\.tar' must be a whole, uncompressed tar.*decompress it"):
        open_source(tmp_path / "a.tar")


def test_a_tar_that_is_cut_short_anywhere_is_noticed(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.tar", samples([1, 2, 3], [0, 1, 0])).read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        end = max(info.offset_data + 512 for info in tar)  # every member fills one block
    for length in range(100, end + 1, 100):
        (tmp_path / "a.tar").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.tar"):
            open_source(tmp_path / "a.tar")


def test_damage_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tar", samples([1, 2, 3], [0, 1, 0]))
    data = bytearray(file.read_bytes())
    data[2048 + 150] ^= 0xFF  # in the checksum of the third header
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"'a\.tar' must be a whole tar, got a damaged header at byte 2048"):
        open_source(file)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_tars_open_or_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    key = "é" * (40 if kind == tarfile.USTAR_FORMAT else 60)
    members = [(f"{key}.png", png(1)), (f"{key}.cls", b"0"), *samples([2], [1])]
    file = write(tmp_path / "a.tar", members, kind)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        block = 512 * data.draw(st.integers(0, 9))
        content[block + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
        header = content[block : block + 512]  # with a checksum that fits, so that the damage gets through
        header[148:156] = b" " * 8
        content[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    file.write_bytes(content)
    try:
        source = open_source(file)
    except InputError:
        return
    for i in range(len(source.items)):
        try:
            source.items.load(i)
        except UnreadableImage:
            continue


def test_a_shard_that_is_gone_or_shorter_later_names_the_image(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tar", samples([1, 2], [0, 1]))
    source = open_source(file)
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(UnreadableImage, match=r"a\.tar/0002\.png.*of \d+ bytes; the shard was cut short"):
        source.items.load(1)
    file.unlink()
    with pytest.raises(UnreadableImage, match=r"a\.tar/0001\.png.*No such file"):
        source.items.load(0)


def test_images_go_to_other_processes(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.tar", samples([1, 2], [0, 1])))
    items = pickle.loads(pickle.dumps(source.items))
    assert [items.stored(i) for i in range(2)] == [png(1), png(2)]


def test_the_index_costs_tens_of_bytes_an_image(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.tar", samples(list(range(1, 101)), [i % 2 for i in range(100)])))
    kept = source.items._span.nbytes + source.items._shard.nbytes
    assert kept == 20 * 100
    assert isinstance(source.items._span, np.ndarray)
