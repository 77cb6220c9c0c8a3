"""Small files that would become large: each is refused (or taken) within 2 seconds and 1 GiB."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

# In a process of its own, whose largest memory can be told.
PROGRAM = """
import io, json, resource, struct, sys, time, zipfile, zlib
from pathlib import Path
import numpy as np
import pyarrow as pa, pyarrow.parquet as pq
from PIL import Image
from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.data.decode import decode, header
from tailgrad.engine import load_weights
from tailgrad.interference import Branches, Interference
from tailgrad.interference.storage import load, save
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.seal import sealed
from tailgrad.ship.target_prior import target_prior
from tailgrad.ship.wire import entry

folder = Path(sys.argv[1])

def png(width, height, body=None, kind=2, extra=()):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    body = zlib.compress(b"") if body is None else body
    more = b"".join(chunk(*one) for one in extra)
    return b"\\x89PNG\\r\\n\\x1a\\n" + head + more + chunk(b"IDAT", body) + chunk(b"IEND", b"")

def zeros(count):
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(2**20)) for _ in range(count >> 20)]
    return b"".join(parts) + packer.flush()

def scans(count):
    file = io.BytesIO()
    Image.new("L", (6000, 6000)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\\xff\\xda")
    return data[:last] + (data[last:-2]) * count + data[-2:]

def gif(frames):
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF", save_all=True, append_images=[
        Image.new("P", (8, 8), i % 2) for i in range(frames)])
    return file.getvalue()

def tiff():
    entries = b"".join(struct.pack("<HHII", 0x100 + i % 200, 4, 2**28, 8) for i in range(60000))
    return b"II*\\x00" + struct.pack("<I", 8) + struct.pack("<H", 60000) + entries + struct.pack("<I", 0)

def parquet(rows):
    table = pa.table({"image": pa.array([b""], pa.binary()).take(pa.array(np.zeros(rows, np.int64))),
                      "label": np.zeros(rows, np.int8)})
    pq.write_table(table, folder / "rows.parquet")

def repeated():
    pixel = b"x" * 2**18
    pq.write_table(pa.table({"image": [pixel] * 1500, "label": [0, 1] * 750}), folder / "same.parquet",
                   row_group_size=3000)

def npz():
    save(Branches(("a",), np.ones((1, 2))), folder / "bomb", summary="")
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("array0.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False,
                                                          "shape": (100 * 2**20,)})
            for _ in range(300):
                member.write(bytes(2**20))

def tensors(header, body=b""):
    said = json.dumps(header).encode()
    return struct.pack("<Q", len(said)) + said + body

parquet(2_000_000)
repeated()
npz()
(folder / "one.csv").write_bytes(b"path,label\\n" + b"x" * 900_000)
(folder / "wide.csv").write_bytes(b"path,label" + b"," * 900_000 + b"\\n1.png,2" + b"," * 90_000)
names = b",".join(b"c%d" % i for i in range(100_000))
(folder / "columns.csv").write_bytes(names + b"\\n" + b"," * 99_999 + b"a")
(folder / "nul.csv").write_bytes(b"path,label\\n\\0.png,a\\n\\0.png,b\\n")
(folder / "huge.safetensors").write_bytes(
    tensors({"w": {"dtype": "F64", "shape": [2**40, 2**20], "data_offsets": [0, 8]}}, bytes(8)))
(folder / "header.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
(folder / "empty.safetensors").write_bytes(
    tensors({"w": {"dtype": "F64", "shape": [0, 2**62], "data_offsets": [0, 0]}}))
(folder / "deep.safetensors").write_bytes(tensors({"__metadata__": {"tailgrad": "[" * 500_000}}))
pictures = {
    "declared": png(50_000, 50_000),
    "zeros": png(8_000, 8_000, zeros(8_000 * 24_001)),
    "clear": png(7_700, 7_700, zeros(7_700 * 30_801), kind=6),
    "text": png(1, 1, zlib.compress(bytes(4)), extra=[(b"zTXt", b"a\\0\\0" + zeros(2**26))]),
    "profile": png(1, 1, zlib.compress(bytes(4)), extra=[(b"iCCP", b"a\\0\\0" + zeros(2**26))]),
    "texts": png(1, 1, zlib.compress(bytes(4)), extra=[(b"zTXt", b"a\\0\\0" + zeros(2**20))] * 500),
    "scans": scans(2000),
    "gif": gif(3000),
    "tiff": tiff(),
}
bombs = {name: (lambda data=data: decode(data, "bomb")) for name, data in pictures.items()}
bombs |= {f"header of {name}": (lambda data=data: header(io.BytesIO(data), "bomb"))
          for name, data in pictures.items()}
for name in ("rows.parquet", "one.csv", "wide.csv", "columns.csv", "nul.csv"):
    bombs[name] = lambda name=name: open_source(str(folder / name))
bombs["same.parquet"] = lambda: open_source(str(folder / "same.parquet")).items.stored(1)
bombs["npz"] = lambda: load(Branches, folder / "bomb")
for name in ("huge", "header", "empty", "deep"):
    bombs[name] = lambda name=name: load_weights(folder / f"{name}.safetensors")
inner = b""
for _ in range(5000):
    inner = entry(1, entry(5, entry(6, inner)))
attributes = b"".join(entry(5, b"") for _ in range(100_000))
shipped = {"text": sealed(b"", "[" * 500_000), "fields": sealed(bytes([8, 1]) * 400_000, "{}"),
           "nested": sealed(entry(7, inner), "{}"), "nodes": sealed(entry(7, entry(1, attributes)), "{}")}
for name, data in shipped.items():
    (folder / f"{name}.onnx").write_bytes(data)
    bombs[f"{name}.onnx"] = lambda name=name: Artefact(folder / f"{name}.onnx")
(folder / "shares.csv").write_text("class,frequency\\n" + "a,1e-9\\n" * 100_000)
bombs["shares.csv"] = lambda: target_prior(folder / "shares.csv", ["a", "b"], [1, 1])
sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
sizes |= {name: len(data) for name, data in pictures.items()}
decode(png(1, 1, zlib.compress(bytes(4))), "warm")
found = {}
for name, bomb in bombs.items():
    # Ask for the peak of this bomb alone: writing 5 there begins a new one.
    Path("/proc/self/clear_refs").write_text("5")
    status = lambda key: next(int(x.split()[1]) for x in open("/proc/self/status") if x.startswith(key))
    before, begun = status("VmRSS"), time.process_time()
    try:
        bomb()
        said = "taken"
    except InputError as error:
        said = str(error)[:300]
    found[name] = [said, time.process_time() - begun, (status("VmHWM") - before) / 2**10]
print(json.dumps([sizes, found]))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], dict[str, list[object]]]:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux, to tell the largest memory")
    words = [sys.executable, "-c", PROGRAM, str(tmp_path_factory.mktemp("bombs"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    sizes, result = json.loads(done.stdout)
    return sizes, result


REFUSED = {
    "declared": "decompression bomb",
    "header of declared": "decompression bomb",
    "zeros": "a decompression bomb",
    "header of zeros": "a decompression bomb",
    "texts": "text memory|chunk",
    "scans": "scans",
    "rows.parquet": "must hold the rows that it announces",
    "wide.csv": "fields",
    "one.csv": "CSV",
    "columns.csv": "must have a column 'path'",
    "nul.csv": "NUL|must name an image file",
    "npz": "bytes of arrays in",
    "huge": "readable safetensors",
    "header": "readable safetensors",
    "deep": "nested more than 50 deep",
    "text.onnx": "nested more than 50 deep",
    "fields.onnx": "must hold what tailgrad export writes",
    "nested.onnx": "nested more than 16 deep",
    "nodes.onnx": "must hold what tailgrad export writes",
    "shares.csv": "name a class once",
}


def test_no_bomb_goes_off(found: tuple[dict[str, int], dict[str, list[object]]]) -> None:
    sizes, result = found
    assert len(result) > 20
    assert max(sizes.values()) < 3 * 2**20
    for name, (said, seconds, memory) in result.items():
        assert float(str(seconds)) < 2.5, (name, said, seconds)
        assert float(str(memory)) < 1024, (name, said, memory)
        assert re.search(REFUSED.get(name, ".*"), str(said)), (name, said)
