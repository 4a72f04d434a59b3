"""Packs, identities, streams, decoders and encoders as Python objects."""

from __future__ import annotations

import ctypes
import dataclasses
import os
from ctypes import byref, c_float, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Callable, Iterator, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _library as lib
from ._library import EffigyError, Status, call

Image = npt.NDArray[np.uint8]
Path = Union[str, "os.PathLike[str]"]
# Called with stage, steps done and steps in all (0: not known); False stops the work.
Progress = Callable[[str, int, int], Optional[bool]]

ORIGINS = ("received", "repeated", "concealed")


@dataclasses.dataclass(frozen=True)
class Frame:
    """A decoded frame. `placement` is (x, y, side) in camera pixels; angles are degrees."""

    image: Image
    pts: int
    origin: str = "received"
    placement: Optional[tuple[float, float, float]] = None
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0


@dataclasses.dataclass(frozen=True)
class Packet:
    """An encoded packet: its bytes, and the time stamp of its first frame."""

    data: bytes
    pts: int


@dataclasses.dataclass(frozen=True)
class DecoderStatistics:
    """What became of packets and frames since the stream was opened."""

    packets: int
    late: int
    duplicates: int
    orphans: int
    refused: int
    received: int
    repeated: int
    concealed: int
    recoveries: int
    waiting: int


class _Handle:
    """A C handle, ended with the object, at `close` or at the end of a `with` block."""

    _kind = ""

    def __init__(self) -> None:
        self._raw = c_void_p()

    def close(self) -> None:
        """Ends the handle; later calls fail."""
        raw, self._raw = getattr(self, "_raw", c_void_p()), c_void_p()
        if raw and lib is not None:
            getattr(lib.LIBRARY, f"effigy_{self._kind}_free")(raw)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bytes(self, name: str) -> bytes:
        length = c_size_t()
        call(name, self._raw, None, 0, byref(length))
        data = ctypes.create_string_buffer(max(length.value, 1))
        call(name, self._raw, data, length.value, byref(length))
        return data.raw[: length.value]


def _picture(image: Image, pts: int = 0) -> lib.Picture:
    """Describes an array, which must live while the description is used."""
    height, width, _ = image.shape
    picture = lib.Picture(ctypes.sizeof(lib.Picture), lib.RGB24, 0, width, height)
    picture.planes[0], picture.strides[0], picture.sizes[0] = image.ctypes.data, 3 * width, image.nbytes
    picture.pts = pts
    return picture


def _checked(image: Image) -> Image:
    """The array as rows of R G B without gaps."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is uint8 of shape (height, width, 3), not {image.dtype} of {image.shape}")
    return np.ascontiguousarray(image)


class _Teller:
    """A Python function on its way through C; what it raises comes out again afterwards."""

    def __init__(self, progress: Optional[Progress]) -> None:
        self.progress, self.raised = progress, None  # type: ignore[var-annotated]
        self.pointer = lib.PROGRESS(self._tell) if progress else lib.PROGRESS()

    def _tell(self, stage: bytes, done: int, total: int, _: object) -> int:
        try:
            return 1 if self.progress(stage.decode(), done, total) is False else 0  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001: no exception may cross C
            self.raised = error
            return 1

    def call(self, name: str, *arguments: Any) -> None:
        try:
            call(name, *arguments)
        except EffigyError:
            if self.raised is not None:
                raise self.raised
            raise


class Pack(_Handle):
    """A model pack."""

    _kind = "pack"

    def __init__(self, path: Path) -> None:
        super().__init__()
        call("pack_load", os.fsencode(path), byref(self._raw))


class Identity(_Handle):
    """A person: from a file's path, or from the file's bytes."""

    _kind = "identity"

    def __init__(self, source: Union[Path, bytes]) -> None:
        super().__init__()
        if isinstance(source, bytes):
            call("identity_load_memory", source, len(source), byref(self._raw))
        else:
            call("identity_load", os.fsencode(source), byref(self._raw))

    @property
    def data(self) -> bytes:
        """The identity's file."""
        return self._bytes("identity_bytes")


class Stream(_Handle):
    """A stream with its identity inside, from a file's path or the file's bytes; an iterator over its frames. With `detail` they have
    twice the pack's side, with the identity's detail if it has one; packs that draw more than 256 pixels stay as they are."""

    _kind = "stream"

    def __init__(self, pack: Pack, source: Union[Path, bytes], *, detail: bool = False) -> None:
        super().__init__()
        if isinstance(source, bytes):
            call("stream_open_memory", pack._raw, source, len(source), byref(self._raw))
        else:
            call("stream_open", pack._raw, os.fsencode(source), byref(self._raw))
        if detail:
            call("stream_show_detail", self._raw)
        info = lib.StreamProperties(ctypes.sizeof(lib.StreamProperties))
        call("stream_info", self._raw, byref(info))
        self.width, self.height = info.width, info.height
        # Seconds of a tick, numerator and denominator.
        self.time_base = (info.time_base_num, info.time_base_den)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        image = np.empty((self.height, self.width, 3), np.uint8)
        picture = _picture(image)
        if call("stream_next_picture", self._raw, byref(picture)) == Status.END:
            raise StopIteration
        return Frame(image, picture.pts)


class Decoder(_Handle):
    """A decoder of packets. Give it the stream's header, then packets; iterating gives the frames that are due. `detail` is as for
    `Stream`: frames of `resolution` pixels a side, whoever is shown."""

    _kind = "decoder"

    def __init__(
        self, pack: Pack, identity: Identity, header: bytes, *, device: int = 0, threads: int = 0, detail: bool = False
    ) -> None:
        super().__init__()
        settings = lib.DecoderSettings()
        call("decoder_settings_init", byref(settings), ctypes.sizeof(settings))
        settings.device, settings.threads, settings.detail = device, threads, int(detail)
        call("decoder_new", pack._raw, identity._raw, byref(settings), byref(self._raw))
        call("decoder_open", self._raw, header, len(header))
        info = lib.HeaderInfo(ctypes.sizeof(lib.HeaderInfo))
        call("decoder_info", self._raw, byref(info))
        self.resolution = info.resolution
        self.camera = (info.camera_width, info.camera_height)
        self.frame_ticks = info.frame_ticks
        self.time_base = (info.time_base_num, info.time_base_den)

    def send(self, packet: Optional[bytes]) -> bool:
        """Takes a packet, or with None the news that one is lost. False if it is refused, which is no reason to stop."""
        try:
            call("decoder_send", self._raw, packet, 0 if packet is None else len(packet))
            return True
        except EffigyError as error:
            if error.status in (Status.MALFORMED, Status.UNSUPPORTED, Status.LIMIT):
                return False
            raise

    def receive(self) -> Optional[Frame]:
        """The next frame that packets have made due; None when there is none."""
        return self._frame("decoder_receive")

    def play(self) -> Optional[Frame]:
        """The frame that is due now by the caller's clock; None before the first packet."""
        return self._frame("decoder_play")

    def _frame(self, name: str) -> Optional[Frame]:
        image = np.empty((self.resolution, self.resolution, 3), np.uint8)
        picture, info = _picture(image), lib.FrameInfo(ctypes.sizeof(lib.FrameInfo))
        if call(name, self._raw, byref(picture), byref(info)) != Status.OK:
            return None
        place = (info.x, info.y, info.side) if info.has_placement else None
        return Frame(image, info.pts, ORIGINS[info.origin], place, info.roll, info.yaw, info.pitch)

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.receive()) is not None:
            yield frame

    def flush(self) -> None:
        """Says that no packet follows for now."""
        call("decoder_flush", self._raw)

    def reset(self) -> None:
        """Starts the same stream anew at whatever packet comes next."""
        call("decoder_reset", self._raw)

    def swap_identity(self, pack: Pack, identity: Identity) -> None:
        """Shows another person from the next frame on, moved by the stream."""
        call("decoder_swap_identity", self._raw, pack._raw, identity._raw)

    @property
    def statistics(self) -> DecoderStatistics:
        counts = lib.Statistics(ctypes.sizeof(lib.Statistics))
        call("decoder_get_statistics", self._raw, byref(counts))
        return DecoderStatistics(*(getattr(counts, field.name) for field in dataclasses.fields(DecoderStatistics)))

    @property
    def needs_intra(self) -> bool:
        """Whether the sender should be asked for a packet that needs no other."""
        wanted = c_int32()
        call("decoder_needs_intra", self._raw, byref(wanted))
        return wanted.value != 0


class Encoder(_Handle):
    """A live encoder of an enrolled person; seconds to make. `size` is (width, height) of the camera's pictures; None takes aligned
    crops of exactly the identity's resolution. `settings` are further members of effigy_encoder_settings by name."""

    _kind = "encoder"

    def __init__(
        self,
        pack: Pack,
        identity: Identity,
        size: Optional[tuple[int, int]],
        *,
        time_base: tuple[int, int] = (1, 90_000),
        frame_ticks: int = 3600,
        progress: Optional[Progress] = None,
        **settings: Union[int, float],
    ) -> None:
        super().__init__()
        chosen = lib.EncoderSettings()
        call("encoder_settings_init", byref(chosen), ctypes.sizeof(chosen))
        chosen.camera_width, chosen.camera_height = size or (0, 0)
        chosen.aligned = size is None
        chosen.time_base_num, chosen.time_base_den = time_base
        chosen.frame_ticks = frame_ticks
        names = {name for name, _ in lib.EncoderSettings._fields_ if name != "size" and "reserved" not in name}
        for name, value in settings.items():
            if name not in names:
                raise TypeError(f"no setting is called {name}; there are {', '.join(sorted(names))}")
            setattr(chosen, name, value)
        teller = _Teller(progress)
        teller.call("encoder_new", pack._raw, identity._raw, byref(chosen), teller.pointer, None, byref(self._raw))

    @property
    def header(self) -> bytes:
        """What a receiver needs once, whole and by a safe way."""
        return self._bytes("encoder_header")

    def send(self, image: Image, pts: int) -> float:
        """Codes a picture. How surely the face was followed, 0 to 1; below 0 while no face has been seen."""
        image = _checked(image)
        picture, sure = _picture(image, pts), c_float()
        try:
            call("encoder_send", self._raw, byref(picture), byref(sure))
        except EffigyError as error:
            if error.status == Status.NO_CONTENT:
                return -1.0
            raise
        return sure.value

    def receive(self) -> Optional[Packet]:
        """The next packet; None when there is none."""
        data, size, pts = ctypes.create_string_buffer(lib.MAX_PACKET), c_size_t(), c_int64()
        if call("encoder_receive", self._raw, data, lib.MAX_PACKET, byref(size), byref(pts)) != Status.OK:
            return None
        return Packet(data.raw[: size.value], pts.value)

    def __iter__(self) -> Iterator[Packet]:
        while (packet := self.receive()) is not None:
            yield packet

    def request_intra(self) -> None:
        """Makes the next packet one that needs no other."""
        call("encoder_request_intra", self._raw)

    def flush(self) -> None:
        """Ends the packet that is being filled."""
        call("encoder_flush", self._raw)


class Enroller(_Handle):
    """Pictures of a person who is to be enrolled: camera pictures, or with `aligned` crops of exactly the pack's resolution."""

    _kind = "enroller"

    def __init__(
        self, pack: Pack, *, aligned: bool = False, name: str = "", preset: int = 1, **settings: int
    ) -> None:
        super().__init__()
        chosen = lib.EnrollerSettings()
        call("enroller_settings_init", byref(chosen), ctypes.sizeof(chosen))
        chosen.aligned, chosen.preset, chosen.name = aligned, preset, name.encode()
        for key, value in settings.items():
            if key not in {"tune_steps", "seed", "identity_bytes", "device", "precision", "threads"}:
                raise TypeError(f"no setting is called {key}")
            setattr(chosen, key, value)
        self._pack = pack
        call("enroller_new", pack._raw, byref(chosen), byref(self._raw))

    def add(self, image: Image) -> bool:
        """Adds a picture; False if no face has been seen so far, and the picture is not taken."""
        image = _checked(image)
        picture = _picture(image)
        try:
            call("enroller_add", self._raw, byref(picture))
        except EffigyError as error:
            if error.status == Status.NO_CONTENT:
                return False
            raise
        return True

    def run(self, progress: Optional[Progress] = None) -> Identity:
        """Fits the identity: minutes."""
        identity = Identity.__new__(Identity)
        identity._raw = c_void_p()
        teller = _Teller(progress)
        teller.call("enroller_run", self._raw, self._pack._raw, teller.pointer, None, byref(identity._raw))
        return identity
