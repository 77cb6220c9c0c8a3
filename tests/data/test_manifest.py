import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import Source, open_source
from tailgrad.data.manifest import load_split, save_split, split_hash
from tailgrad.data.splits import Split, make_split


def folder(root, classes=("a", "b"), n=6):
    rng = np.random.default_rng(0)
    for k in classes:
        (root / k).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(root / k / f"{i}.png")
    return root


@pytest.fixture
def source(tmp_path):
    return open_source(folder(tmp_path / "data"))


@pytest.fixture
def split(source):
    return make_split(source, seed=3)


def same(a, b):
    parts = all(np.array_equal(getattr(a, p), getattr(b, p)) for p in ("train", "val", "test"))
    return parts and (a.seed, a.method, a.groups_kept, a.leakage) == (
        b.seed,
        b.method,
        b.groups_kept,
        b.leakage,
    )


def test_a_split_comes_back_as_it_was(source, split, tmp_path):
    digest = save_split(split, source, tmp_path / "split.json")
    assert digest == split_hash(split, source)
    assert len(digest) == 64
    assert same(load_split(tmp_path / "split.json", source), split)
    assert [p.name for p in tmp_path.iterdir() if p.name != "data"] == ["split.json"]


def test_leakage_and_method_are_kept(source, tmp_path):
    index = np.arange(12)
    split = Split(index[:4], index[4:8], index[8:], 7, 2, "by hand", ((0, 9), (5, 11)))
    save_split(split, source, tmp_path / "split.json")
    assert same(load_split(tmp_path / "split.json", source), split)


def test_the_part_hash_is_that_of_the_listed_content(source, split, tmp_path):
    save_split(split, source, tmp_path / "split.json")
    saved = json.loads((tmp_path / "split.json").read_text())
    names = [source.items.name(i) for i in split.val]
    content = [
        [name, int(source.labels[i]), hashlib.sha256((tmp_path / "data" / name).read_bytes()).hexdigest()]
        for i, name in zip(split.val, names, strict=True)
    ]
    text = json.dumps(content, separators=(",", ":"))
    assert saved["parts"]["val"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert saved["parts"]["val"]["names"] == names
    assert saved["parts"]["train"]["counts"] == np.bincount(source.labels[split.train]).tolist()
    assert saved["classes"] == ["a", "b"]


def test_the_same_data_elsewhere_fit_even_with_more_files(source, split, tmp_path):
    save_split(split, source, tmp_path / "split.json")
    other = folder(tmp_path / "elsewhere")
    Image.new("RGB", (20, 20)).save(other / "a" / "00.png")
    moved = open_source(other)
    loaded = load_split(tmp_path / "split.json", moved)
    assert [moved.items.name(i) for i in loaded.test] == [source.items.name(i) for i in split.test]
    assert not np.array_equal(loaded.test, split.test)
    assert split_hash(loaded, moved) == split_hash(split, source)


def test_everything_that_matters_changes_the_hash(source, split):
    moved = Split(split.train[1:], np.append(split.val, split.train[0]), split.test, split.seed)
    labels = source.labels.copy()
    labels[split.train[0]] ^= 1
    hashes = {
        split_hash(split, source),
        split_hash(split.with_train(split.train[1:]), source),
        split_hash(moved, source),
        split_hash(split, replace(source, labels=labels)),
        split_hash(split, replace(source, class_names=("a", "c"))),
    }
    assert len(hashes) == 5


def spoil_content(data, name):
    Image.new("RGB", (20, 20)).save(data / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda data, name: (data / name).unlink(),
            "got none named '{}' and 0 more missing from its test part",
        ),
        (spoil_content, "got other content for '{}'"),
    ],
)
def test_missing_and_changed_files_are_named(source, split, tmp_path, spoil, message):
    save_split(split, source, tmp_path / "split.json")
    name = source.items.name(split.test[1])
    spoil(tmp_path / "data", name)
    with pytest.raises(InputError) as caught:
        load_split(tmp_path / "split.json", open_source(tmp_path / "data"))
    assert message.format(name) in str(caught.value)


def test_a_changed_label_is_named(source, split, tmp_path):
    save_split(split, source, tmp_path / "split.json")
    labels = source.labels.copy()
    labels[split.val[0]] ^= 1
    with pytest.raises(InputError, match=rf"another label \({labels[split.val[0]]}\) for"):
        load_split(tmp_path / "split.json", replace(source, labels=labels))


@pytest.mark.parametrize("names", [("a", "z"), ("b", "a"), ("a", "b", "c")])
def test_other_classes_are_refused(source, split, tmp_path, names):
    save_split(split, source, tmp_path / "split.json")
    with pytest.raises(InputError, match=r"must have the classes of .*\['a', 'b'\] \(2\), got"):
        load_split(tmp_path / "split.json", replace(source, class_names=names))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda saved: saved["parts"]["test"]["names"].reverse(), "other content|another label"),
        (lambda saved: saved["parts"]["test"].update(sha256="0" * 64), "agree with its own SHA-256"),
        (lambda saved: saved["parts"].pop("val"), "Field required at parts.val"),
        (lambda saved: saved.update(seed="one"), "valid integer.* at seed"),
        (lambda saved: saved.update(format="tailgrad split 99"), "at format"),
    ],
)
def test_an_edited_file_is_refused(source, split, tmp_path, edit, message):
    save_split(split, source, tmp_path / "split.json")
    saved = json.loads((tmp_path / "split.json").read_text())
    edit(saved)
    (tmp_path / "split.json").write_text(json.dumps(saved))
    with pytest.raises(InputError, match=message):
        load_split(tmp_path / "split.json", source)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null"])
def test_a_file_of_another_kind_is_refused(source, tmp_path, content):
    (tmp_path / "split.json").write_bytes(content)
    with pytest.raises(InputError, match="one that save_split wrote"):
        load_split(tmp_path / "split.json", source)


def test_missing_files_and_folders_that_cannot_be_written_are_one_clear_error(source, split, tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_split(tmp_path / "none.json", source)
    with pytest.raises(InputError, match="cannot write"):
        save_split(split, source, tmp_path / "data" / "a" / "0.png" / "split.json")


def test_a_failed_write_leaves_the_old_file(source, split, tmp_path, monkeypatch):
    path = tmp_path / "split.json"
    save_split(split, source, path)
    before = path.read_bytes()
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(InputError, match="No space left"):
        save_split(split.with_train(split.train[:1]), source, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "split.json"]


class Listed:
    def __init__(self, names, content=b"x"):
        self.names, self.content = names, content

    def __len__(self):
        return len(self.names)

    def name(self, i):
        return self.names[i]

    def stored(self, i):
        return self.content + str(i).encode()


def listed(names, classes=("a", "b")):
    n = len(names)
    return Source("listed", Listed(names), np.arange(n) % len(classes), tuple(classes), ("",) * n)


def thirds(n):
    return Split(np.arange(0, n, 3), np.arange(1, n, 3), np.arange(2, n, 3), seed=0)


def test_two_items_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="got 'x' at positions 0 and 2"):
        save_split(thirds(3), listed(["x", "y", "x"]), tmp_path / "split.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ['<b>"quoted"</b>', "ä 漢字 🙂", "n" * 300, "back\\slash\n", "latin-1 \udce9"]
)
def test_odd_names_survive(tmp_path, name):
    source = listed(["x", name, "z"], classes=(name, "other"))
    save_split(thirds(3), source, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json", source).val.tolist() == [1]


def test_twenty_thousand_items_stay_below_two_megabytes(tmp_path):
    source = listed([f"all-the-images.parquet#{i}" for i in range(20_000)])
    save_split(thirds(20_000), source, tmp_path / "split.json")
    assert (tmp_path / "split.json").stat().st_size < 2e6
