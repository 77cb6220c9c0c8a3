"""Where images and labels come from, and which of them a model may learn from.

The protocol is ``Items``: N images, each with ``load(i)`` (uint8 [H, W, 3], RGB, upright), ``name(i)``,
``stored(i)`` (the bytes that a hash is taken of), ``format(i)`` and ``size(i)``. A ``Source`` is items
with labels, class names, and what the place says about itself (a split, a canonical order, a default
regime). Everything else works on any source: long-tail profiles, splits, audit, decoding into memory.

The smallest source is a pair of arrays:

    >>> import numpy as np
    >>> from tailgrad.data import open_source
    >>> source = open_source((np.zeros((4, 8, 8), np.uint8), ["cat", "dog", "dog", "cat"]))
    >>> source.class_names, source.counts, source.items.load(0).shape
    (('cat', 'dog'), (2, 2), (8, 8, 3))

To add a kind of source, write one file with a function that returns a Source (its items may be
``ImageFiles``, ``Pictures`` or a class of your own with the six methods), and call it in ``open_source.py``.
"""

from typing import TYPE_CHECKING

from tailgrad.lazy import lazy_package

if TYPE_CHECKING:
    from tailgrad.data.audit import Audit, audit
    from tailgrad.data.decode import MAX_PIXELS, UnreadableImage, unreadable
    from tailgrad.data.duplicates import Duplicates, duplicate_groups
    from tailgrad.data.manifest import load_split, save_split, split_hash
    from tailgrad.data.open_source import open_source
    from tailgrad.data.profiles import Profile, counts_for, imbalance_factor, longtail, shortfall
    from tailgrad.data.resident import default_size, load_images
    from tailgrad.data.resident_loader import ResidentLoader
    from tailgrad.data.source import Items, Source, choose
    from tailgrad.data.splits import Split, make_split
    from tailgrad.data.streaming_loader import StreamingLoader

__all__ = [
    "MAX_PIXELS",
    "Audit",
    "Duplicates",
    "Items",
    "Profile",
    "ResidentLoader",
    "Source",
    "Split",
    "StreamingLoader",
    "UnreadableImage",
    "audit",
    "choose",
    "counts_for",
    "default_size",
    "duplicate_groups",
    "imbalance_factor",
    "load_images",
    "load_split",
    "longtail",
    "make_split",
    "open_source",
    "save_split",
    "shortfall",
    "split_hash",
    "unreadable",
]

# On use: decoding an image loads no PyTorch.
__getattr__ = lazy_package(
    __name__,
    {
        "Audit": "audit",
        "Duplicates": "duplicates",
        "Items": "source",
        "MAX_PIXELS": "decode",
        "Profile": "profiles",
        "ResidentLoader": "resident_loader",
        "Source": "source",
        "Split": "splits",
        "StreamingLoader": "streaming_loader",
        "UnreadableImage": "decode",
        "audit": "audit",
        "choose": "source",
        "counts_for": "profiles",
        "default_size": "resident",
        "duplicate_groups": "duplicates",
        "imbalance_factor": "profiles",
        "load_images": "resident",
        "load_split": "manifest",
        "longtail": "profiles",
        "make_split": "splits",
        "open_source": "open_source",
        "save_split": "manifest",
        "shortfall": "profiles",
        "split_hash": "manifest",
        "unreadable": "decode",
    },
)
