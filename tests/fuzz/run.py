"""Spoil valid files for some minutes and see whether a reader bears it; what it does not bear is kept.

python tests/fuzz/run.py TARGET... --minutes 10

A case is an exception other than InputError, a crash of the process, more than 2 seconds (of processor time)
or more than 1 GiB for an input below 1 MiB. It goes into tests/fuzz/cases/TARGET/, which the tests replay.
With --engine atheris, libFuzzer chooses the inputs by the code that they reach in this package.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
sys.path.append(str(HERE))
CASES = HERE / "cases"
SECONDS, BYTES, LARGEST = 2.0, 2**30, 2**20
STALL = 60


def inputs(name: str) -> list[bytes]:
    """Valid files and cases of before."""
    from targets import TARGETS

    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in sorted((CASES / name).glob("*.bin")))]


def keep(name: str, data: bytes, why: str) -> None:
    """Put an input among the cases."""
    path = CASES / name / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{name}: {path.name} ({len(data)} bytes): {why}", flush=True)


def fault(name: str, data: bytes) -> str:
    """What is wrong with reading the data, or nothing."""
    from targets import TARGETS

    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        TARGETS[name](data)
    except Exception:
        return traceback.format_exc(limit=-3)
    used = time.process_time() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if len(data) <= LARGEST and (used > SECONDS or grown > BYTES):
        return f"{used:.1f} s, {grown / 2**20:.0f} MiB more than ever before"
    return ""


def work(name: str, seed: int, seconds: float) -> None:
    """Spoil and read for some processor time; the input in hand is on disk, for the case of a crash."""
    from targets import TARGETS

    chance, pool = random.Random(seed), inputs(name)
    inputs_file, told, reads = Path(os.environ["FUZZ_INPUT"]), set[str](), 0
    for data in pool:
        inputs_file.write_bytes(data)
        fault(name, data)  # also imports everything, which takes its time once
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        data = chance.choice(pool)
        for _ in range(chance.choice((1, 1, 2, 3))):
            data = TARGETS[name].change(chance, data)
        inputs_file.write_bytes(data)
        why = fault(name, data)
        where = why[-300:]
        if why and where not in told:
            told.add(where)
            keep(name, data, why)
        reads += 1
        if reads % 50 == 0 and not why and len(pool) < 300 and len(data) < 10 * LARGEST:
            pool.append(data)  # spoil what is spoilt already
    print(f"{name}: {reads} inputs, {len(told)} faults", flush=True)
    _note(name, inputs=reads, faults=len(told), seconds=time.process_time() - begun)


def _note(name: str, **more: float) -> None:
    """Add to what is known of a target in results/fuzz.json."""
    sys.path.append(str(HERE.parents[1] / "benchmarks"))
    from record import ROOT, provenance

    path = ROOT / "results" / "fuzz.json"
    with FileLock(f"{path}.lock"):
        whole = json.loads(path.read_text()) if path.exists() else {}
        before = whole.get(name, {})
        sums = {key: round(before.get(key, 0) + value) for key, value in more.items()}
        whole[name] = sums | {"provenance": provenance([])}
        path.write_text(json.dumps(dict(sorted(whole.items())), indent=2) + "\n")


def watch(name: str, minutes: float, seed: int) -> None:
    """Run workers one after the other: one that crashes or stalls leaves its input as a case."""
    before = _used()
    while (left := 60 * minutes - (_used() - before)) > 1:
        file = Path(tempfile.gettempdir(), f"fuzz-{name}-{os.getpid()}.bin")
        file.write_bytes(b"")
        words = [sys.executable, __file__, name, "--seconds", str(left), "--seed", str(seed)]
        worker = subprocess.Popen(words, env=os.environ | {"FUZZ_INPUT": str(file)})
        while worker.poll() is None:
            time.sleep(1)
            if file.stat().st_size and time.time() - file.stat().st_mtime > STALL:
                worker.kill()
                worker.wait()
        if worker.returncode and file.read_bytes():
            keep(name, file.read_bytes(), f"the process ended with {worker.returncode}")
        seed += 1
        file.unlink()


def _used() -> float:
    """Seconds of processor time of the workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def with_atheris(name: str, minutes: float) -> None:
    """Let libFuzzer choose."""
    import atheris

    with atheris.instrument_imports(include=["tailgrad"]):
        from targets import TARGETS

    corpus = Path(tempfile.gettempdir(), f"fuzz-corpus-{name}")
    corpus.mkdir(exist_ok=True)
    for data in inputs(name):
        (corpus / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    target = TARGETS[name]
    changed = [random.Random(0)]

    def custom(data: bytes, most: int, seed: int) -> bytes:
        changed[0].seed(seed)
        return target.change(changed[0], data)[:most]

    found = CASES / name
    found.mkdir(parents=True, exist_ok=True)
    words = [
        f"-max_total_time={int(60 * minutes)}",
        "-timeout=20",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={found}/",
    ]
    atheris.Setup([sys.argv[0], *words, str(corpus)], target, custom_mutator=custom)
    atheris.Fuzz()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="names of targets.py, or all")
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time, each")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seconds is not None:
        work(options.targets[0], options.seed, options.seconds)
        return
    from targets import TARGETS

    for name in TARGETS if options.targets == ["all"] else options.targets:
        run = with_atheris if options.engine == "atheris" else watch
        run(name, options.minutes, *(() if options.engine == "atheris" else (options.seed,)))


if __name__ == "__main__":
    main()
