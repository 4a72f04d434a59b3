"""effigy: coding of talking heads, over the C interface (ctypes; nothing to compile).

Frames are numpy arrays of shape (height, width, 3), dtype uint8, R G B. Threads: one at a time per object, also as an argument;
different objects freely. While the library works, other Python threads run.

The library is found by the variable EFFIGY_LIBRARY (its full path), else beside this package, else by the system.
"""

from __future__ import annotations

from ._library import EffigyError, Status, features, version
from ._objects import (
    Decoder,
    DecoderStatistics,
    Encoder,
    Enroller,
    Frame,
    Identity,
    Pack,
    Packet,
    Stream,
)

__all__ = [
    "Decoder",
    "DecoderStatistics",
    "EffigyError",
    "Encoder",
    "Enroller",
    "Frame",
    "Identity",
    "Pack",
    "Packet",
    "Status",
    "Stream",
    "features",
    "version",
]
