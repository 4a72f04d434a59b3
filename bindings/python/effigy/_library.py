"""The C library: where it is, its structures and functions, and failures as exceptions. Source: include/effigy.h."""

from __future__ import annotations

import ctypes
import ctypes.util
import enum
import os
import pathlib
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

ABI_VERSION = 1005
MAX_PACKET = 16384
RGB24 = 0


class Status(enum.IntEnum):
    """Numbers of effigy_status."""

    OK = 0
    END = 1
    AGAIN = 2
    IO = -1
    MALFORMED = -2
    UNSUPPORTED = -3
    LIMIT = -4
    MISUSE = -5
    NO_CONTENT = -6
    DEVICE = -7
    CANCELLED = -8
    PANIC = -9
    NULL = -10


class EffigyError(RuntimeError):
    """A failure: `status` is its number, the text says what was expected and what was found."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = Status(status)


class Picture(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("format", c_int32),
        ("colour", c_int32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("planes", c_void_p * 3),
        ("strides", c_size_t * 3),
        ("sizes", c_size_t * 3),
        ("pts", c_int64),
    ]


class StreamProperties(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("width", c_uint32),
        ("height", c_uint32),
        ("time_base_num", c_uint32),
        ("time_base_den", c_uint32),
        ("frames", c_uint64),
        ("decoded", c_uint64),
        ("damaged", c_uint64),
        ("lost", c_uint64),
        ("concealed", c_uint64),
    ]


class HeaderInfo(Structure):
    _fields_ = [("size", c_size_t)] + [
        (name, c_uint32)
        for name in ("resolution", "camera_width", "camera_height", "frame_ticks", "time_base_num", "time_base_den")
    ]


class FrameInfo(Structure):
    _fields_ = [("size", c_size_t), ("pts", c_int64), ("origin", c_int32), ("has_placement", c_int32)] + [
        (name, c_float) for name in ("x", "y", "side", "roll", "yaw", "pitch")
    ]


class Statistics(Structure):
    _fields_ = [("size", c_size_t)] + [
        (name, c_uint64)
        for name in (
            "packets",
            "late",
            "duplicates",
            "orphans",
            "refused",
            "received",
            "repeated",
            "concealed",
            "recoveries",
            "waiting",
        )
    ]


class DecoderSettings(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("device", c_int32),
        ("precision", c_int32),
        ("threads", c_uint32),
        ("reserved", c_uint32),
        ("detail", c_uint32),
        ("more_reserved", c_uint32),
    ]


class EncoderSettings(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("start_pts", c_int64),
        ("camera_width", c_uint32),
        ("camera_height", c_uint32),
        ("time_base_num", c_uint32),
        ("time_base_den", c_uint32),
        ("frame_ticks", c_uint32),
        ("quality", c_float),
        ("redundancy", c_uint32),
        ("frames_per_packet", c_uint32),
        ("intra_interval", c_uint32),
        ("aligned", c_int32),
        ("inline_identity", c_int32),
        ("smoothing", c_float),
        ("device", c_int32),
        ("precision", c_int32),
        ("threads", c_uint32),
        ("reserved", c_uint32),
        ("search_steps", c_uint32),
        ("more_reserved", c_uint32),
        ("residual_bytes", c_float),
        ("reserved_too", c_uint32),
        ("frame_budget_us", c_uint32),
        ("reserved_last", c_uint32),
    ]


class EnrollerSettings(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("preset", c_int32),
        ("aligned", c_int32),
        ("tune_steps", c_uint64),
        ("seed", c_uint64),
        ("identity_bytes", c_uint32),
        ("device", c_int32),
        ("precision", c_int32),
        ("threads", c_uint32),
        ("name", c_char_p),
    ]


PROGRESS = ctypes.CFUNCTYPE(c_int32, c_char_p, c_uint64, c_uint64, c_void_p)

_OUT = POINTER(c_void_p)
_SIZE = POINTER(c_size_t)
# Arguments of the functions that return a status; all handles are plain pointers here.
_CALLS: dict[str, list[Any]] = {
    "pack_load": [c_char_p, _OUT],
    "identity_load": [c_char_p, _OUT],
    "identity_load_memory": [c_char_p, c_size_t, _OUT],
    "identity_bytes": [c_void_p, c_void_p, c_size_t, _SIZE],
    "stream_open": [c_void_p, c_char_p, _OUT],
    "stream_open_memory": [c_void_p, c_char_p, c_size_t, _OUT],
    "stream_show_detail": [c_void_p],
    "stream_info": [c_void_p, POINTER(StreamProperties)],
    "stream_next_picture": [c_void_p, POINTER(Picture)],
    "decoder_settings_init": [POINTER(DecoderSettings), c_size_t],
    "decoder_new": [c_void_p, c_void_p, POINTER(DecoderSettings), _OUT],
    "decoder_open": [c_void_p, c_char_p, c_size_t],
    "decoder_info": [c_void_p, POINTER(HeaderInfo)],
    "decoder_send": [c_void_p, c_char_p, c_size_t],
    "decoder_receive": [c_void_p, POINTER(Picture), POINTER(FrameInfo)],
    "decoder_play": [c_void_p, POINTER(Picture), POINTER(FrameInfo)],
    "decoder_flush": [c_void_p],
    "decoder_reset": [c_void_p],
    "decoder_swap_identity": [c_void_p, c_void_p, c_void_p],
    "decoder_get_statistics": [c_void_p, POINTER(Statistics)],
    "decoder_needs_intra": [c_void_p, POINTER(c_int32)],
    "encoder_settings_init": [POINTER(EncoderSettings), c_size_t],
    "encoder_new": [c_void_p, c_void_p, POINTER(EncoderSettings), PROGRESS, c_void_p, _OUT],
    "encoder_header": [c_void_p, c_void_p, c_size_t, _SIZE],
    "encoder_send": [c_void_p, POINTER(Picture), POINTER(c_float)],
    "encoder_receive": [c_void_p, c_void_p, c_size_t, _SIZE, POINTER(c_int64)],
    "encoder_request_intra": [c_void_p],
    "encoder_flush": [c_void_p],
    "enroller_settings_init": [POINTER(EnrollerSettings), c_size_t],
    "enroller_new": [c_void_p, POINTER(EnrollerSettings), _OUT],
    "enroller_add": [c_void_p, POINTER(Picture)],
    "enroller_run": [c_void_p, c_void_p, PROGRESS, c_void_p, _OUT],
}


def _find() -> str:
    named = os.environ.get("EFFIGY_LIBRARY")
    if named:
        return named
    for name in ("libeffigy.so", "libeffigy.dylib"):
        beside = pathlib.Path(__file__).with_name(name)
        if beside.exists():
            return str(beside)
    return ctypes.util.find_library("effigy") or "libeffigy.so"


def _load() -> ctypes.CDLL:
    path = _find()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise OSError(f"{error}: set EFFIGY_LIBRARY to the full path of libeffigy.so") from error
    library.effigy_abi_version.restype = c_uint32
    found = library.effigy_abi_version()
    if found // 1000 != ABI_VERSION // 1000 or found < ABI_VERSION:
        raise ImportError(f"effigy: made for interface {ABI_VERSION}, the library has {found}")
    library.effigy_version.restype = c_char_p
    library.effigy_features.restype = c_uint32
    library.effigy_last_error.argtypes = [c_char_p, c_size_t]
    library.effigy_last_error.restype = c_size_t
    for name, arguments in _CALLS.items():
        function = getattr(library, "effigy_" + name)
        function.argtypes, function.restype = arguments, c_int32
    for name in ("pack", "identity", "stream", "decoder", "encoder", "enroller"):
        function = getattr(library, f"effigy_{name}_free")
        function.argtypes, function.restype = [c_void_p], None
    return library


LIBRARY = _load()


def call(name: str, *arguments: Any) -> Status:
    """Calls a function; failures become exceptions, news comes back."""
    status = getattr(LIBRARY, "effigy_" + name)(*arguments)
    if status < 0:
        text = ctypes.create_string_buffer(LIBRARY.effigy_last_error(None, 0) + 1)
        LIBRARY.effigy_last_error(text, len(text))
        raise EffigyError(status, text.value.decode())
    return Status(status)


def version() -> str:
    """Version of the library."""
    return LIBRARY.effigy_version().decode()


def features() -> set[str]:
    """What the library can do: "encode" (aligned crops), "align" (camera pictures), "cuda"."""
    have = LIBRARY.effigy_features()
    return {name for bit, name in ((1, "encode"), (2, "align"), (4, "cuda")) if have & bit}
