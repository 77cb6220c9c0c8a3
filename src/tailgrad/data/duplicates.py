"""Images that occur more than once: the same pixels, or nearly the same picture."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tailgrad.data.alignment import align, halved, local_correlation
from tailgrad.data.decode import UnreadableImage
from tailgrad.data.perceptual_hash import close_pairs, perceptual_hash
from tailgrad.data.source import Source
from tailgrad.data.thumbnails import SIDE, Thumbnails

MAX_DISTANCE = 12
"""Hash bits (of 63) in which a proposed pair may differ."""

MIN_CORRELATION = 0.98
"""Aligned pixel correlation above which a proposed pair is confirmed."""

MIN_LOCAL = 0.9
"""The same correlation with local contrast evened out, which must be reached as well."""

MIN_SIDE = 16
"""Shorter side in pixels below which an image holds too little to tell a copy from a look-alike."""

# Alignment at half size first: what stays below this there never reached MIN_CORRELATION at full size.
_MIN_COARSE = 0.93
_MIN_CONTRAST = 1.0
_CHUNK = 256
_BLOCK = 2048

Fine = NDArray[np.float32]

Progress = Callable[[int, int], None]
"""Told how many items of how many are done."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which items of a source belong together.

    Args:
        group: group of each item [N] (int64), numbered by first appearance; an item alone has its own.
        exact: items with the same pixels, for every set of two or more; positions ascending.
        near: groups joined by near-duplicates, each with all its members, exact copies included.
        unreadable: (position, reason) of each item that could not be decoded; each is a group alone.

    Example:
        >>> from tailgrad.data import open_source
        >>> found = duplicate_groups(open_source("digits-lt"), near=False)
        >>> len(found.group), found.exact
        (1797, ())
    """

    group: NDArray[np.int64]
    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, ...], ...]
    unreadable: tuple[tuple[int, str], ...] = ()

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Every group of two or more items, exact or near."""
        return _members(self.group)


def duplicate_groups(
    source: Source, *, near: bool = True, stored: bool = False, progress: Progress | None = None
) -> Duplicates:
    """Group the items of a source that show the same picture.

    Exact: the decoded pixels have the same shape and SHA-256 (so files with the same bytes always match).
    Near, on grey 32 x 32 thumbnails: the perceptual hash proposes pairs that differ in at most 12 of 63
    bits; after alignment (shift and stretch up to 15 %) the pixel correlation must exceed .98, and .9 with
    local contrast evened out, which keeps apart different objects in the same dark frame. Exact sets join by
    complete linkage, strongest pair first: two groups merge only if every pair across them is confirmed, so
    a chain a ~ b ~ c with a unlike c does not become one group.

    Mirrored and rotated copies are not looked for. Images under 16 pixels on a side, and thumbnails with a
    contrast (standard deviation) below one grey level, are compared exactly only. Each item is decoded once.
    Memory is a few hundred bytes an item: above 50,000 items the thumbnails lie in a temporary file. The time
    that near-duplicates take grows with the square of the items.

    Args:
        source: images; labels play no part.
        near: look for near-duplicates as well as exact ones.
        stored: look for equal stored bytes only, in place of both; nothing is decoded.
        progress: called with (items decoded, items).

    Returns:
        Groups, fixed by the images and their order.

    Example:
        >>> from tailgrad.data import open_source
        >>> from tailgrad.data.source import choose
        >>> twice = choose(open_source("digits-lt"), [0, 1, 0])
        >>> found = duplicate_groups(twice)
        >>> found.group.tolist(), found.exact, found.near
        ([0, 1, 0], ((0, 2),), ())
    """
    if callable(alike := getattr(source.items, "alike", None)):  # rows of a table are compared as they are
        rows = _numbered(alike().tolist())
        return Duplicates(rows, _members(rows), ())
    digests, faults = [], []
    with Thumbnails(len(source.items)) as thumbnails:
        for i, print_ in enumerate(_fingerprints(source, near and not stored, stored, progress)):
            digests.append(print_.digest or f"unreadable {i}")
            faults += [(i, print_.fault)] if print_.fault else []
            thumbnails.append(print_.thumbnail)
        exact = _numbered(digests)
        first = np.unique(exact, return_index=True)[1]
        joined = np.arange(len(first))
        if near and not stored and len(first) > 1:
            joined = _complete_linkage(len(first), *_confirmed_pairs(thumbnails, first))
    group = _numbered(joined[exact].tolist())
    exact_sets = set(_members(exact))
    return Duplicates(
        group=group,
        exact=_members(exact),
        near=tuple(members for members in _members(group) if members not in exact_sets),
        unreadable=tuple(faults),
    )


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    digest: bytes
    thumbnail: NDArray[np.uint8]
    fault: str = ""


_BLANK = np.zeros((SIDE, SIDE), np.uint8)


def _fingerprints(
    source: Source, near: bool, stored: bool, progress: Progress | None
) -> Iterator[_Fingerprint]:
    def one(i: int) -> _Fingerprint:
        try:
            if stored:
                return _Fingerprint(_digest(source.items.stored(i)), _BLANK)
            pixels = source.items.load(i)
        except UnreadableImage as error:
            return _Fingerprint(b"", _BLANK, error.reason)
        compared = near and min(pixels.shape[:2]) >= MIN_SIDE
        digest = _digest(str(pixels.shape).encode() + pixels.tobytes())
        return _Fingerprint(digest, _thumbnail(pixels) if compared else _BLANK)

    total, told = len(source.items), progress or (lambda _done, _total: None)
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        for start in range(0, total, _BLOCK):  # a pool that is handed everything keeps everything
            block = range(start, min(start + _BLOCK, total))
            for i, print_ in zip(block, pool.map(one, block), strict=True):
                told(i + 1, total)
                yield print_


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Squashed to a square: copies that were stretched match, and others differ in far more than shape.
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small.convert("L"))


def _confirmed_pairs(
    thumbnails: Thumbnails, first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Near-duplicate pairs [M, 2] among the items ``first``, as places in it, and their correlation [M]."""
    structured, bits = _hashes(thumbnails, first)
    items = first[structured]
    pairs, strengths = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for proposed in close_pairs(bits, MAX_DISTANCE):
        for start in range(0, len(proposed), _CHUNK):
            chunk = proposed[start : start + _CHUNK]
            a, b = (thumbnails.rows(items[side]) for side in chunk.T)
            alike, strength = _confirm(a, b)
            pairs.append(chunk[alike])
            strengths.append(strength)
    return structured[np.concatenate(pairs)], np.concatenate(strengths)


def _hashes(thumbnails: Thumbnails, first: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Places in ``first`` of thumbnails with enough contrast, and their hashes."""
    places, bits = [np.empty(0, np.int64)], [np.empty((0, 63), bool)]
    for start in range(0, len(first), _BLOCK):
        block = thumbnails.rows(first[start : start + _BLOCK])
        kept = np.flatnonzero(block.std((1, 2)) >= _MIN_CONTRAST)
        places.append(kept + start)
        bits.append(perceptual_hash(block[kept]))
    return np.concatenate(places), np.concatenate(bits)


def _confirm(a: Fine, b: Fine) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of the pairs of thumbnails are near-duplicates, and the correlation of those."""
    rough = align(halved(a), halved(b), steps=4)
    promising = np.flatnonzero(rough.correlation > _MIN_COARSE)
    a, b, warp = a[promising], b[promising], rough.warp[promising] * np.array([1, 1, 2, 2], np.float32)
    found = align(a, b, start=warp)
    alike = found.correlation > MIN_CORRELATION
    alike[alike] = local_correlation(a[alike], b[alike], found.warp[alike]) > MIN_LOCAL
    return promising[alike], found.correlation[alike]


def _complete_linkage(n: int, pairs: NDArray[np.int64], strength: NDArray[np.float32]) -> NDArray[np.int64]:
    """Group of each of n items: strongest pairs first, merging only where all pairs across are known."""
    known = {(int(i), int(j)) for i, j in pairs}
    group = np.arange(n)
    members = {int(i): [int(i)] for i in np.unique(pairs)}
    for i, j in pairs[np.lexsort((pairs[:, 1], pairs[:, 0], -strength))]:
        a, b = sorted((int(group[i]), int(group[j])))
        if a != b and all((min(p, q), max(p, q)) in known for p in members[a] for q in members[b]):
            group[members[b]] = a
            members[a] += members.pop(b)
    return group


def _numbered(keys: Sequence[object]) -> NDArray[np.int64]:
    """Equal keys get equal numbers, counted from 0 by first appearance."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


def _members(group: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Positions of each group of two or more, in the order of the groups."""
    several = np.flatnonzero(np.bincount(group)[group] > 1)
    order = several[np.argsort(group[several], kind="stable")]
    sets = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return tuple(tuple(members.tolist()) for members in sets if len(members))
