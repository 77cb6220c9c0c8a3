"""What reads files of strangers: functions of bytes that may raise InputError and nothing else."""

import contextlib
import importlib.util
import io
import json
import random
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import mutate
import numpy as np
import plotly.offline
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image
from pyarrow import csv as arrow_csv

from tailgrad.checks import InputError
from tailgrad.data import Source, audit, load_split, open_source, save_split
from tailgrad.data.arrays import open_arrays
from tailgrad.data.decode import decode, header
from tailgrad.data.label_lists import LabelLists
from tailgrad.data.new_rows import open_new_rows
from tailgrad.data.splits import Split
from tailgrad.data.table import open_table, rows_of
from tailgrad.data.table_encoding import TableEncoding, load_encoding
from tailgrad.engine import Learner, MetricsLog
from tailgrad.engine.checkpoint import load_last, save_last, save_weights
from tailgrad.evidence import audit_claims
from tailgrad.evidence.table_file import published
from tailgrad.interference import Interference
from tailgrad.models import create_model
from tailgrad.posthoc import Chain
from tailgrad.recipes.after_training import fit_chain, load_chain, make_chain
from tailgrad.recipes.components import check_names
from tailgrad.recipes.compose import compose, overlay, parse_set, validate
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.row_parts import Unchanged
from tailgrad.recipes.run_folder import RunFolder, config_text
from tailgrad.recipes.table import FORMATS, table
from tailgrad.report import write_report
from tailgrad.ship import from_pretrained, predict
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.deployed import Deployed
from tailgrad.ship.deployed_rows import DeployedRows
from tailgrad.ship.description import ROWS, Description, Focus, Preprocessing
from tailgrad.ship.examples import random_examples
from tailgrad.ship.picture_list import unlisted
from tailgrad.ship.seal import description_of, sealed
from tailgrad.ship.target_prior import target_prior

TAGS = frozenset(
    re.findall(
        r"[\w-]+",
        "html head meta title style body a header h1 h2 h3 ul li main section div span p nav noscript "
        "img button label select option "
        "strong figure figcaption script details summary table caption thead tbody tr th td footer",
    )
)
ATTRIBUTES = frozenset(
    re.findall(
        r"[\w-]+",
        "lang charset name content http-equiv href class id aria-label tabindex role scope style type "
        "aria-labelledby aria-hidden data-theme data-shape value src alt loading",
    )
)
NAMES, SIZE = ("cat", "dog", "</script><b>"), (32, 32)


@dataclass(frozen=True)
class Target:
    """A reader, files that it takes, and how to spoil them."""

    read: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    change: mutate.Change

    def __call__(self, data: bytes) -> bool:
        """Read; whether the data were taken."""
        try:
            self.read(data)
        except InputError as error:
            if not str(error).strip():
                raise AssertionError("an error without words") from error
            return False
        return True


@cache
def place() -> Path:
    """A folder that goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[Any] = []


def put(name: str, data: bytes) -> Path:
    path = place() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@cache
def reports() -> Any:
    """The made-up runs and studies of the tests of reports."""
    file = Path(__file__).parents[1] / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("report_folders", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Page(HTMLParser):
    """Refuses tags and attributes that no template of ours writes."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, f"<{tag}> in the report"
        for name, value in attrs:
            assert name in ATTRIBUTES, f"{name}={value!r} in the report"
            assert name != "href" or str(value).startswith("#"), value
            assert name != "src" or str(value).startswith("data:image/"), value


def report(folder: Path) -> None:
    # Four megabytes of JavaScript in every report are not what is tested here.
    with mock.patch.object(plotly.offline, "get_plotlyjs", return_value="plotly"):
        html = write_report(folder).read_text(encoding="utf-8")
    _Page().feed(html)
    assert html.count("<script>") == 2


# Printed tables


def read_printed(data: bytes) -> None:
    str(audit_claims(put("printed.yaml", data), bound=20))


def printed_tables() -> list[bytes]:
    return [path.read_bytes() for path in published().values()]


# Recipes and configurations


def read_recipe(data: bytes) -> None:
    path = str(put("mine.yaml", data))
    config = compose("digits-lt", "digits", {**overlay("methods", path), "own_regime": True})
    check_names(config)


def read_config(data: bytes) -> None:
    put("configured/config.yaml", data)
    config = RunFolder(place() / "configured").config()
    assert validate(config.model_dump()) == config
    config_text(config)


def read_assignment(data: bytes) -> None:
    compose("digits-lt", "digits", "csba", parse_set([data.decode("utf-8", "replace")]))


def configs() -> list[bytes]:
    method = b"head: {name: csba, options: {branches: 2}}\nloss: focal\nsampler: {name: class_balanced}\n"
    crt = b"stages:\n- {name: crt, head: reset, epochs: 3, sampler: class_balanced}\nposthoc: [{name: x}]\n"
    return [
        config_text(compose("digits-lt", "digits", "csba")).encode(),
        method,
        crt,
        b"data: {size: [32, 48]}",
    ]


# Splits, results and reports


@cache
def pictures() -> Source:
    return open_arrays(np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8), [0, 1, 2] * 4)


def splits() -> list[bytes]:
    split = Split(np.arange(6), np.arange(6, 9), np.arange(9, 12), seed=0, leakage=((0, 9),))
    save_split(split, pictures(), place() / "split.json")
    return [(place() / "split.json").read_bytes()]


@cache
def run_folder() -> Path:
    folder = place() / "run"
    reports().write_run(folder, names=NAMES, counts=(9, 5, 2), focus="cat")
    return folder


@cache
def study_folder() -> Path:
    folder = place() / "study"
    reports().write_study(folder, seeds=2, names=reports().NAMES)
    return folder


def read_in(folder: Callable[[], Path], name: str) -> Callable[[bytes], None]:
    """A report of a folder of which one file is another."""

    def read(data: bytes) -> None:
        path = folder() / name
        before = path.read_bytes()
        path.write_bytes(data)
        try:
            report(folder())
        finally:
            path.write_bytes(before)

    return read


def file_of(folder: Callable[[], Path], name: str) -> Callable[[], list[bytes]]:
    return lambda: [(folder() / name).read_bytes()]


def read_metrics(data: bytes) -> None:
    MetricsLog(put("log/metrics.jsonl", data), 3)
    read_in(run_folder, "metrics.jsonl")(data)


def read_comparison(data: bytes) -> None:
    put("table/comparison.json", data)
    for style in FORMATS:
        table(place() / "table", style)
    read_in(study_folder, "comparison.json")(data)


# Lists and shards of images


@cache
def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)).save(file, "PNG")
    return file.getvalue()


def read_source(name: str) -> Callable[[bytes], None]:
    """Open a source, and look at some of its images."""

    def read(data: bytes) -> None:
        for image in ("1.png", "2.png", "b/3.png"):
            put(f"source/{image}", png())
        source = open_source(str(put(f"source/{name}", data)))
        assert len(source.items) == len(source.labels)
        for i in range(min(3, len(source.items))):
            source.items.format(i), source.items.size(i), source.items.stored(i)
            assert source.items.load(i).dtype == np.uint8

    return read


def lists() -> list[bytes]:
    return [b"1.png 0\n2.png 1\nb/3.png 1\n", b"1.png\t0\r\n2.png\t1\r\n"]


def tables() -> list[bytes]:
    return [
        b'path,label,split\n1.png,cat,train\n2.png,dog,val\n"b/3.png",cat,\n',
        b"path,label\n1.png,1\n2.png,2\n",
    ]


def annotations() -> list[bytes]:
    images = [{"id": i, "file_name": name} for i, name in enumerate(("1.png", "2.png"))]
    labels = [{"image_id": i, "category_id": i} for i in range(2)]
    kinds = [{"id": 0, "name": "fern"}, {"id": 1, "name": "moss"}]
    return [json.dumps({"images": images, "annotations": labels, "categories": kinds}).encode()]


def parquets() -> list[bytes]:
    structs = [{"bytes": png(), "path": "1.png"}] * 4
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    first = pa.table({"image": structs, "label": [0, 1, 1, 0]}).replace_schema_metadata(described)
    second = pa.table({"image": [png(), png()], "label": ["a", "b"], "rank": [0, 0]})
    made = []
    for one, how in ((first, "snappy"), (second, "none"), (first, "zstd")):
        file = io.BytesIO()
        pq.write_table(one, file, compression=how, row_group_size=3)
        made.append(file.getvalue())
    return made


def shards() -> list[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for key, label in (("a/1", b"cat"), ("a/2", b"dog"), ("b/" + "l" * 150, b"cat")):
            for kind, data in ((".png", png()), (".cls", label), (".json", b'{"label": 1}')):
                info = tarfile.TarInfo(key + kind)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return [file.getvalue(), mutate.links(file.getvalue())]


def read_image(data: bytes) -> None:
    for read in (lambda: header(io.BytesIO(data), "image"), lambda: decode(data, "image", (4, 4))):
        with contextlib.suppress(InputError):
            read()
    decode(data, "image")


def images() -> list[bytes]:
    pixels = Image.fromarray(np.arange(24 * 16 * 3, dtype=np.uint8).reshape(24, 16, 3))
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        *(("PNG", mode, {}) for mode in ("RGB", "RGBA", "P", "L", "1", "I;16")),
        *(("JPEG", "RGB", options) for options in ({}, {"progressive": True})),
        *(("TIFF", mode, {"compression": how}) for mode in ("RGB", "F") for how in ("raw", "tiff_lzw")),
        *((kind, "RGB", {}) for kind in ("BMP", "WEBP")),
        ("GIF", "P", {"save_all": True, "append_images": [pixels.convert("P")] * 3}),
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for kind, mode, options in kinds:
        file = io.BytesIO()
        image = pixels.convert("L").convert("I;16") if mode == "I;16" else pixels.convert(mode)
        image.save(file, kind, **options, **({"exif": exif} if kind in ("JPEG", "PNG") else {}))
        made.append(file.getvalue())
    return made


# Rows of tables, and lists of labels


def rows_as_csv() -> list[bytes]:
    return [
        b"age,town,when,sick\n40,a,2024-01-02,no\n51,b,2024-02-03,yes\n,a,2024-03-04,no\n38,,2024-01-09,yes\n",
        b"x,y,sick\n1e-3,true,0\n2e5,false,1\n-7,true,1\n",
    ]


def rows_as_parquet() -> list[bytes]:
    made = []
    for how in ("snappy", "none"):
        file, read = io.BytesIO(), pa.BufferReader(rows_as_csv()[0])
        pq.write_table(arrow_csv.read_csv(read), file, compression=how)
        made.append(file.getvalue())
    return made


def read_rows(name: str) -> Callable[[bytes], None]:
    """Open a table, learn its encoding on the first half and encode all of it."""

    def read(data: bytes) -> None:
        source = open_table(put(f"rows/{name}", data), "sick")
        rows = rows_of(source)
        assert rows is not None
        encoding = TableEncoding.fit(rows, range((len(rows) + 1) // 2), source.class_names)
        found = encoding.encode(rows)
        assert np.isfinite(found.numbers).all()
        assert found.numbers.shape == (len(rows), encoding.width)
        for positions, most in zip(found.categories.T, encoding.cardinalities, strict=True):
            assert 0 <= positions.min() <= positions.max() <= most

    return read


def encodings() -> list[bytes]:
    source = open_table(put("rows/first.csv", rows_as_csv()[0]), "sick")
    rows = rows_of(source)
    assert rows is not None
    TableEncoding.fit(rows, range(len(rows)), source.class_names).save(place() / "encoding.json")
    return [(place() / "encoding.json").read_bytes()]


def read_encoding(data: bytes) -> None:
    encoding = load_encoding(put("rows/encoding.json", data))
    found = open_new_rows(put("rows/new.csv", rows_as_csv()[0]), encoding)
    assert found.encoded.numbers.shape[1] == encoding.width


def labelled() -> list[bytes]:
    return [
        b"path,labels,split\n1.png,cat; dog,train\n2.png,,val\nb/3.png,dog,\n",
        b'path,labels\n1.png,"1;2"\n2.png,2\n',
    ]


def read_labelled(several: LabelLists) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        for image in ("1.png", "2.png", "b/3.png"):
            put(f"source/{image}", png())
        source = open_source(put("source/labels.csv", data), several=several)
        assert source.indicators is not None
        assert source.indicators.shape == (len(source.items), source.num_classes)
        str(audit(source, near=False, command_source="labels.csv"))

    return read


# Weights


@cache
def trained() -> Path:
    """A run folder with an untrained network and a fitted method after it."""
    folder = RunFolder(place() / "trained")
    config = compose("digits-lt", "digits", "csba", {"model": {"name": "resnet8"}})
    config = validate(config.model_dump() | {"posthoc": ["temperature_scaling", "class_thresholds"]})
    folder.path.mkdir()
    (folder.path / "config.yaml").write_text(config_text(config))
    meta = {
        "classes": {"names": list(NAMES), "counts": [9, 5, 2]},
        "model": "resnet8",
        "head": {"name": "csba", "options": config.head.options},
        "size": list(SIZE),
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
    }
    torch.manual_seed(0)
    network = create_model("resnet8", 3, head="csba", head_options=config.head.options)
    save_weights(folder.weights, network, meta)
    fit_chain(make_chain(config, (9, 5, 2)), torch.randn(30, 3), torch.arange(30) % 3, folder.weights.parent)
    return folder.path


def restored() -> None:
    network = restore(trained())
    logits = network.model(network.normalize(torch.zeros(2, 3, *SIZE, dtype=torch.uint8)))
    assert network.posthoc.transform(logits).shape == (2, len(network.names))


def read_weights(data: bytes) -> None:
    path = trained() / "checkpoint" / "weights.safetensors"
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        restored()
    finally:
        path.write_bytes(before)


def read_posthoc(data: bytes) -> None:
    config = RunFolder(trained()).config()
    put("posthoc/posthoc.safetensors", data)
    load_chain(config, (9, 5, 2), place() / "posthoc").transform(torch.zeros(2, 3))


@cache
def learner() -> Learner:
    made = Learner.plain(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(), lr=0.1)
    made.model(torch.ones(1, 3)).sum().backward()
    made.optimizer.step()
    return made


def read_state(data: bytes) -> None:
    load_last(put("state/last.safetensors", data), learner())


def states() -> list[bytes]:
    return [save_last(place() / "s.safetensors", learner(), {"epoch": 3, "step": 9}).read_bytes()]


# What is shipped


def shipped_about() -> Description:
    form = Preprocessing(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    focus = Focus(name="dog", threshold=0.4)
    prior = (0.5, 0.25, 0.25)
    return Description(
        names=NAMES, counts=(9, 5, 2), preprocessing=form, prior=prior, target_prior=prior, focus=focus
    )


@cache
def graph() -> bytes:
    network = WithProbabilities(Deployed(restore(trained())), 1.0, None)
    _, model = next(converted(network, {"images": np.zeros((2, 3, *SIZE), np.uint8)}))
    return model


def artefacts() -> list[bytes]:
    return [sealed(graph(), shipped_about().model_dump_json())]


def read_artefact(data: bytes) -> None:
    found = predict(put("shipped/model.onnx", data), [put("shipped/1.png", png())], top_k=2)
    assert len(found) == 1


@cache
def row_graph() -> tuple[bytes, Description]:
    encoding = load_encoding(put("rows/first.json", encodings()[0]))
    about = Description(names=encoding.classes, counts=(2, 2), task=ROWS, encoding=encoding)
    model = create_model("mlp", 2, backbone_options={**encoding.columns, "hidden": [4]}).eval()
    network = Restored(model, encoding.classes, (1, 1), "squash", Unchanged(), Chain([]))
    feed = random_examples(about)
    _, made = next(converted(WithProbabilities(DeployedRows(network, tuple(feed)), 1.0, None), feed))
    return made, about


def row_artefacts() -> list[bytes]:
    made, about = row_graph()
    return [sealed(made, about.model_dump_json())]


def read_row_artefact(data: bytes) -> None:
    table = put("rows/to_classify.csv", rows_as_csv()[0])
    found = predict(put("shipped/rows.onnx", data), [table], top_k=2)
    assert [one.file for one in found] == [f"{table}#{i}" for i in range(4)]


def spoil_artefact(of: Callable[[], bytes]) -> Callable[[random.Random, bytes], bytes]:
    """Another description of a graph under a hash that fits, or other bytes."""

    def spoil(chance: random.Random, data: bytes) -> bytes:
        if chance.random() < 0.3:
            return mutate.binary(chance, data)
        try:
            about = description_of(data, "model")
        except InputError:
            return mutate.binary(chance, data)
        return sealed(of(), mutate.as_json(chance, about.encode()).decode("utf-8", "replace"))

    return spoil


def read_frequencies(data: bytes) -> None:
    shares = target_prior(put("shares.yaml", data), NAMES, (9, 5, 2))
    assert abs(sum(shares) - 1) < 1e-9


def read_to_classify(data: bytes) -> None:
    put("source/1.png", png())
    assert all(path.is_file() for path in unlisted([put("source/new.csv", data)]))


@cache
def hub_folder() -> Path:
    folder, source = place() / "hub", trained()
    put("hub/model.safetensors", RunFolder(source).weights.read_bytes())
    put("hub/posthoc.safetensors", (source / "checkpoint" / "posthoc.safetensors").read_bytes())
    kept = {"source": "x", "posthoc": ["temperature_scaling", "class_thresholds"]}
    config = {"tailgrad": shipped_about().model_dump(mode="json"), "tailgrad_config": kept}
    put("hub/config.json", json.dumps(config).encode())
    return folder


def read_pretrained(data: bytes) -> None:
    path = hub_folder() / "config.json"
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        assert len(from_pretrained(hub_folder()).predict([put("shipped/1.png", png())])) == 1
    finally:
        path.write_bytes(before)


# Measurements


def read_arrays(data: bytes) -> None:
    _measured({"heldout.npz": data})


def read_measurement(data: bytes) -> None:
    _measured({"heldout.json": data})


def _measured(files: dict[str, bytes]) -> None:
    folder = place() / "measured"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(run_folder(), folder)
    for name, data in files.items():
        (folder / "interference" / name).write_bytes(data)
    Interference.load(folder / "interference" / "heldout")
    report(folder)


TARGETS = {
    "recipe": Target(read_recipe, configs, mutate.as_yaml),
    "config": Target(read_config, configs, mutate.as_yaml),
    "assignment": Target(read_assignment, lambda: [b"optim.lr=0.1", b"data.size=[3, 4]"], mutate.text),
    "split": Target(lambda data: load_split(put("s.json", data), pictures()), splits, mutate.as_json),
    "result": Target(read_in(run_folder, "result.json"), file_of(run_folder, "result.json"), mutate.as_json),
    "metrics": Target(read_metrics, file_of(run_folder, "metrics.jsonl"), mutate.as_lines),
    "study": Target(read_in(study_folder, "study.yaml"), file_of(study_folder, "study.yaml"), mutate.as_yaml),
    "comparison": Target(read_comparison, file_of(study_folder, "comparison.json"), mutate.as_json),
    "csv": Target(read_source("list.csv"), tables, mutate.text),
    "list": Target(read_source("list.txt"), lists, mutate.text),
    "annotations": Target(read_source("list.json"), annotations, mutate.as_json),
    "parquet": Target(read_source("images.parquet"), parquets, mutate.binary),
    "tar": Target(read_source("shard.tar"), shards, mutate.as_tar),
    "image": Target(read_image, images, mutate.as_png),
    "weights": Target(
        read_weights, file_of(trained, "checkpoint/weights.safetensors"), mutate.as_safetensors
    ),
    "rows": Target(read_rows("rows.csv"), rows_as_csv, mutate.text),
    "row_parquet": Target(read_rows("rows.parquet"), rows_as_parquet, mutate.binary),
    "encoding": Target(read_encoding, encodings, mutate.as_json),
    "labels": Target(read_labelled(LabelLists(column="labels")), labelled, mutate.text),
    "label_columns": Target(
        read_labelled(LabelLists(columns=("cat", "dog"))),
        lambda: [b"path,cat,dog\n1.png,0,1\n2.png,1,1\nb/3.png,0,0\n"],
        mutate.text,
    ),
    "posthoc": Target(
        read_posthoc, file_of(trained, "checkpoint/posthoc.safetensors"), mutate.as_safetensors
    ),
    "state": Target(read_state, states, mutate.as_safetensors),
    "arrays": Target(read_arrays, file_of(run_folder, "interference/heldout.npz"), mutate.as_zip),
    "printed": Target(read_printed, printed_tables, mutate.as_yaml),
    "artefact": Target(read_artefact, artefacts, spoil_artefact(graph)),
    "row_artefact": Target(read_row_artefact, row_artefacts, spoil_artefact(lambda: row_graph()[0])),
    "frequencies": Target(
        read_frequencies,
        lambda: [yaml.safe_dump(dict(zip(NAMES, (0.5, 0.3, 0.2), strict=True))).encode(), b"[0.5, 0.3, 0.2]"],
        mutate.as_yaml,
    ),
    "to_classify": Target(read_to_classify, lambda: [b"path,label\n1.png,cat\n"], mutate.text),
    "pretrained": Target(read_pretrained, file_of(hub_folder, "config.json"), mutate.as_json),
    "measurement": Target(read_measurement, file_of(run_folder, "interference/heldout.json"), mutate.as_json),
}
