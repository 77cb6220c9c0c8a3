"""Keep what a study has finished, without weights, so that it goes on another day or on another machine.

    python benchmarks/unfinished.py keep FOLDER            # into results/unfinished/NAME.*.tar.xz
    python benchmarks/unfinished.py restore NAME FOLDER    # then the study with --out FOLDER --resume

A run that has begun and not ended is not kept: ``--resume`` trains it anew, to the same result. Give the data
by the same path, best a relative one, since a study refuses to go on with other data.
"""

import argparse
import io
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tailgrad.recipes.run_folder import RunFolder

PLACE = Path(__file__).parents[1] / "results" / "unfinished"
BYTES = 900_000  # of an archive: what is committed stays under 1 MB
LEFT_OUT = {"checkpoint", "jobs", "report.html", "log.txt", "images", "logs"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Keep or restore, as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="keep|restore")
    one = commands.add_parser("keep", help="write archives of what is finished")
    one.add_argument("folder", type=Path)
    one.set_defaults(call=lambda given: keep(given.folder, PLACE))
    two = commands.add_parser("restore", help="unpack archives into a new folder")
    two.add_argument("name")
    two.add_argument("folder", type=Path)
    two.set_defaults(call=lambda given: restore(PLACE, given.name, given.folder))
    given = parser.parse_args(arguments)
    print(given.call(given))


def keep(folder: Path, place: Path) -> str:
    """Archive the finished runs and cells of a study's folder; older archives of it are replaced."""
    if not folder.is_dir():
        sys.exit(f"folder must be that of a study, got {folder}, which is none")
    parts = list(_parts(_files(folder), folder))
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob(f"{folder.name}.*.tar.xz"):
        old.unlink()
    for number, part in enumerate(parts):
        (place / f"{folder.name}.{number:02d}.tar.xz").write_bytes(part)
    runs = sum(RunFolder(path).complete for path in folder.glob("*/runs/*"))
    return (
        f"{runs} finished runs of {folder.name}: {len(parts)} archives, {sum(map(len, parts)) / 1e6:.2f} MB"
    )


def restore(place: Path, name: str, folder: Path) -> str:
    """Unpack the archives of a study into ``folder``, which must be new."""
    archives = sorted(place.glob(f"{name}.*.tar.xz"))
    if not archives:
        known = sorted({path.name.rsplit(".", 3)[0] for path in place.glob("*.tar.xz")})
        sys.exit(f"name must be a study that is kept, got {name!r}; kept: {', '.join(known) or 'none'}")
    if folder.exists():
        sys.exit(f"folder must be new, got {folder}, which exists")
    for archive in archives:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    runs = sum(RunFolder(path).complete for path in folder.glob("*/runs/*"))
    return f"{runs} finished runs in {folder}; go on with --out {folder} --resume"


def _files(folder: Path) -> list[Path]:
    """Files of the study itself and of its finished runs, in order."""
    unfinished = {path for path in folder.glob("*/runs/*") if not RunFolder(path).complete}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and not LEFT_OUT & set(path.relative_to(folder).parts)
        and not unfinished & set(path.parents)
    ]


def _parts(files: Iterable[Path], folder: Path) -> Iterator[bytes]:
    """Archives of at most ``BYTES`` where no single file is larger, each readable by itself."""
    taken: list[Path] = []
    for path in files:
        if taken and _size([*taken, path]) > BYTES and len(_archive([*taken, path], folder)) > BYTES:
            yield _archive(taken, folder)
            taken = []
        taken.append(path)
    if taken:
        yield _archive(taken, folder)


def _size(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _archive(files: Sequence[Path], folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for path in files:
            data = _placeless(path, folder)
            entry = archive.gettarinfo(path, arcname=str(path.relative_to(folder)))
            entry.size = len(data)
            archive.addfile(_plain(entry), io.BytesIO(data))
    return buffer.getvalue()


def _placeless(path: Path, folder: Path) -> bytes:
    """The file; where it says what command made it, without the place of the study on this machine."""
    data = path.read_bytes()
    if path.name != "environment.json":
        return data
    return data.replace(str(folder.resolve()).encode(), folder.name.encode())


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing about who wrote it or when."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
