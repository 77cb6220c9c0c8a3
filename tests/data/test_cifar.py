import hashlib
import pickle
import socket

import numpy as np
import pytest
import torchvision.datasets as tv
from torchvision.datasets import utils

from tailgrad.checks import InputError
from tailgrad.data import Profile, longtail, open_source
from tailgrad.data.cifar import canonical_rank


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(utils.urllib.request, "urlopen", refuse)


def install(root, kind, key, monkeypatch, per_part=40):
    """Write small files of CIFAR's own format, and make torchvision accept their hashes."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    random = np.random.RandomState(3)
    classes = 10 if key == "labels" else 100

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def part(name):
        labels = random.randint(0, classes, per_part).tolist()
        pixels = random.randint(0, 256, (per_part, 3072)).astype(np.uint8)
        written.append((labels, pixels))
        return [name, write(name, {"data": pixels, key: labels})]

    written: list[tuple[list[int], np.ndarray]] = []
    monkeypatch.setattr(kind, "train_list", [part(name) for name, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [part(name) for name, _ in kind.test_list])
    names = [f"class {k}" for k in range(classes)]
    monkeypatch.setattr(
        kind, "meta", {**kind.meta, "md5": write(kind.meta["filename"], {kind.meta["key"]: names})}
    )
    return written


@pytest.mark.parametrize(
    ("name", "kind", "key"), [("cifar10", tv.CIFAR10, "labels"), ("cifar100", tv.CIFAR100, "fine_labels")]
)
def test_files_on_disk(tmp_path, monkeypatch, offline, name, kind, key):
    written = install(tmp_path, kind, key, monkeypatch)
    source = open_source(name, root=tmp_path)
    assert source.labels.tolist() == [label for labels, _ in written for label in labels]
    stored = np.concatenate([pixels for _, pixels in written])
    for i in (0, 41, len(stored) - 1):
        assert np.array_equal(source.items.load(i), stored[i].reshape(3, 32, 32).transpose(1, 2, 0))
    assert source.given == ("train",) * (len(stored) - 40) + ("test",) * 40
    assert (source.regime, source.profile, source.class_names[3]) == ("plain-200", None, "class 3")
    assert (source.rank[-40:] == -1).all()
    assert np.array_equal(source.rank[:-40], canonical_rank(source.labels[:-40]))


def test_long_tailed_names_and_environment(tmp_path, monkeypatch, offline):
    install(tmp_path, tv.CIFAR10, "labels", monkeypatch)
    monkeypatch.setenv("TAILGRAD_DATA", str(tmp_path))
    source = open_source("cifar10-lt")
    assert (source.profile.kind, source.profile.imb_factor, source.name) == ("exponential", 100, "cifar10-lt")


@pytest.mark.parametrize("name", ["cifar10", "cifar100-lt"])
def test_missing_data_without_network(tmp_path, offline, name):
    with pytest.raises(InputError, match=r"must be at hand or be fetched.*unreachable") as caught:
        open_source(name, root=tmp_path)
    archive = "cifar-100-python.tar.gz" if "100" in name else "cifar-10-python.tar.gz"
    assert archive in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert socket.getdefaulttimeout() is None


def test_damaged_data_are_never_unpickled(tmp_path, monkeypatch, offline):
    install(tmp_path, tv.CIFAR10, "labels", monkeypatch)

    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    (tmp_path / tv.CIFAR10.base_folder / "data_batch_2").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="must be at hand"):
        open_source("cifar10", root=tmp_path)


def test_rank_is_what_the_published_code_selects():
    """The published loop, written out: global seed, shuffle each class, keep the first n."""
    labels = np.random.RandomState(7).permutation(np.repeat(np.arange(5), 60))
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002 - the global generator is the point
    chosen = []
    for k in range(5):
        members = np.where(labels == k)[0]
        np.random.shuffle(members)  # noqa: NPY002
        chosen.append(members[: int(60 * 0.1 ** (k / 4))])
    np.random.set_state(state)  # noqa: NPY002
    rank = canonical_rank(labels)
    assert longtail(labels, Profile("exponential", 10), 99, rank).tolist() == sorted(np.concatenate(chosen))


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    canonical_rank(np.zeros(9, np.int64))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
