import io
import json
import multiprocessing
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import UnreadableImage, load_images, open_source, parquet_images

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (5, 3), shade).save(file, "PNG")
    return file.getvalue()


def write(path, shades, labels, names=None, *, rows=2, image="image", label="label", **more):
    images = [{"bytes": encoded(s), "path": f"{s}.png"} for s in shades]
    table = pa.table({image: pa.array(images, IMAGE), label: labels, **more})
    features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / "train-00000-of-00002.parquet",
        range(5),
        [0, 1, 2, 0, 1],
        ["x", "y", "z"],
        rank=[4, 3, 2, 1, 0],
    )
    write(
        tmp_path / "train-00001-of-00002.parquet", range(5, 8), [2, 2, 2], ["x", "y", "z"], rank=[7, None, 5]
    )
    write(tmp_path / "validation.parquet", [8], [0], ["x", "y", "z"])
    write(tmp_path / "test.parquet", [9, 10], [1, 2], ["x", "y", "z"])
    return tmp_path


def test_folder_of_parts(folder):
    source = open_source(folder)
    # files in order of name: test, train 0, train 1, validation
    assert source.given == ("test",) * 2 + ("train",) * 8 + ("val",)
    assert source.labels.tolist() == [1, 2, 0, 1, 2, 0, 1, 2, 2, 2, 0]
    assert source.rank.tolist() == [-1, -1, 4, 3, 2, 1, 0, 7, -1, 5, -1]
    assert source.class_names == ("x", "y", "z")
    assert source.items.name(6) == "train-00000-of-00002.parquet#4"
    assert source.items.name(7) == "train-00001-of-00002.parquet#0"
    shades = [int(source.items.load(i).max()) for i in range(len(source.items))]
    assert shades == [9, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_item(folder):
    items = open_source(folder).items
    assert items.stored(1) == encoded(10)
    assert items.format(1) == "PNG"
    assert items.size(1) == (3, 5)


def test_one_file_brings_no_split(folder):
    source = open_source(folder / "test.parquet")
    assert source.given == ("", "")
    assert source.rank is None
    assert source.class_names == ("x", "y", "z")


def test_repository_layout(tmp_path):
    write(tmp_path / "data" / "train-0.parquet", [1, 2], ["b", "a"])
    source = open_source(tmp_path)
    assert (source.class_names, source.labels.tolist()) == (("a", "b"), [1, 0])


def test_random_access_reads_the_same_under_a_tiny_cache(folder, monkeypatch):
    source = open_source(folder)
    wanted = [source.items.stored(i) for i in range(len(source.items))]
    monkeypatch.setattr(parquet_images, "_CACHE_BYTES", 1)
    order = np.random.RandomState(0).permutation(len(wanted))
    assert [source.items.stored(i) for i in order] == [wanted[i] for i in order]
    assert len(source.items._cache) == 1


def test_read_by_threads_and_sent_to_processes(folder):
    source = pickle.loads(pickle.dumps(open_source(folder)))
    images = load_images(source, range(len(source.items)), (3, 5))
    assert images[:, 0, 0, 0].tolist() == [9, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_columns_by_their_kind_or_by_name(tmp_path):
    file = write(tmp_path / "a.parquet", [1, 2], [0, 1], ["p", "q"], image="img", label="fine_label")
    assert open_source(file).class_names == ("p", "q")
    assert open_source(file, image_column="img", label_column="fine_label").class_names == ("p", "q")
    with pytest.raises(InputError, match=r"a column 'fine', got img, fine_label; .* data\.label_column"):
        open_source(file, label_column="fine")


def test_plain_binary_column(tmp_path):
    pq.write_table(pa.table({"image": [encoded(7), encoded(8)], "label": [3, 4]}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    assert source.items.load(1).max() == 8
    assert source.class_names == ("3", "4")


@pytest.mark.parametrize("label", [3, -1, None])
def test_label_out_of_range_names_the_row(tmp_path, label):
    file = write(tmp_path / "a.parquet", [1, 2, 3], [0, 1, label], ["x", "y", "z"])
    with pytest.raises(InputError, match=r"label of a\.parquet#2 must"):
        open_source(file)


def test_files_that_disagree(folder):
    write(folder / "train-2.parquet", [1], [0], ["x", "z", "y"])
    with pytest.raises(InputError, match=r"must agree on class names.*train-2\.parquet"):
        open_source(folder)


def test_images_that_are_not_encoded(tmp_path):
    pq.write_table(pa.table({"image": ["a.png", "b.png"], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"column 'image' must hold encoded images.*got string"):
        open_source(tmp_path / "a.parquet")


def test_image_without_bytes(tmp_path):
    images = pa.array([{"bytes": encoded(1), "path": "1"}, {"bytes": None, "path": "2"}, None], IMAGE)
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1]}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    for i in (1, 2):
        with pytest.raises(UnreadableImage, match=rf"a\.parquet#{i}.*no bytes"):
            source.items.load(i)


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1 cut short"])
def test_what_is_no_parquet_file(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(InputError, match="must be a parquet file"):
        open_source(tmp_path / "a.parquet")


def test_a_process_keeps_few_row_groups_and_sends_none(folder, monkeypatch):
    source = open_source(folder)
    wanted = [source.items.stored(i) for i in range(len(source.items))]
    one = max(a.nbytes for a in source.items._cache.values())
    assert len(pickle.dumps(source.items)) < sum(map(len, wanted)) + 2000
    assert not pickle.loads(pickle.dumps(source.items))._cache
    monkeypatch.setattr(parquet_images, "_CACHE_BYTES", 2 * one)
    for i in (0, 5, 9, 10, 3, 7):
        assert source.items.stored(i) == wanted[i]
        assert sum(a.nbytes for a in source.items._cache.values()) <= 2 * one


def test_row_groups_that_memory_could_not_bear_are_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(parquet_images, "MAX_GROUP_BYTES", 10)
    with pytest.raises(
        InputError, match=r"row groups of images .* in group 0 of test\.parquet.*row_group_size"
    ):
        open_source(folder)


def test_a_lock_held_at_a_fork_does_not_stop_the_child(folder):
    source = open_source(folder)
    with parquet_images._LOCK:
        worker = multiprocessing.get_context("fork").Process(target=source.items.stored, args=(0,))
        worker.start()
        worker.join(20)
    assert worker.exitcode == 0


def test_lists_of_labels_are_no_classes(tmp_path):
    file = write(tmp_path / "all.parquet", range(3), [[0], [0, 1], [2]])
    with pytest.raises(
        InputError, match=r"column 'label' must hold one class a row, got list<.*--labels-column"
    ):
        open_source(file)
