"""The picture in the README: parts of a report, one below the other, as headless Chromium shows them.

python docs/picture.py REPORT OUT.png --rows 0-960 3050-4140
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1180, 7400
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=20000",
)


def screenshot(report: Path, folder: Path) -> Image.Image:
    """The whole page, WIDTH pixels wide."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("this needs Chromium; install it and run again")
    shot = folder / "shot.png"
    words = [browser, *FLAGS, f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}"]
    page = report.resolve().as_uri()
    subprocess.run([*words, f"--screenshot={shot}", page], check=True, capture_output=True)
    return Image.open(shot).convert("RGB")


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", nargs="+", default=[f"0-{HEIGHT}"], help="from-to, in pixels")
    options = parser.parse_args()
    rows = [tuple(map(int, part.split("-"))) for part in options.rows]
    with tempfile.TemporaryDirectory() as folder:
        page = screenshot(options.report, Path(folder))
    picture = Image.new("RGB", (WIDTH, sum(end - begin for begin, end in rows)), "white")
    y = 0
    for begin, end in rows:
        picture.paste(page.crop((0, begin, WIDTH, end)), (0, y))
        y += end - begin
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
