"""A card in NVDEC's and NVENC's place, below PyAV: the CPU's codecs, which fail or err as they are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import av
import av.error
import pytest

from millrace.engine.episode import encode_clip as encoding
from millrace.engine.video.backends import NVENC

SOFTWARE = {"av1": "libdav1d"}  # libav's own "av1" does nothing without a card
GONE = av.ExternalError(1, "the device is gone")


@dataclass
class FakeCard:
    """decodes, encodes: so many frames of a clip before it is gone; None: all. errs: whether it decodes wrong pixels.

    num_sessions: of the encoder, at once. used: which codecs it was asked for.
    """

    decodes: int | None = None
    encodes: int | None = None
    errs: bool = False
    num_sessions: int = 8
    used: list[str] = field(default_factory=list)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Meanwhile PyAV opens this card's codecs."""
        encoding._decoder.cache_clear()  # it keeps those of another card
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(av, "CodecContext", SimpleNamespace(create=self._created(av.CodecContext.create)))
            patch.setattr(av, "open", self._opened(av.open))
            yield

    def _created(self, create: Any) -> Any:
        sessions: list[Any] = []

        def created(name: str, mode: str, hwaccel: Any = None) -> Any:
            if name == NVENC:
                sessions.append(Session(is_refused=len(sessions) >= self.num_sessions))
                return sessions[-1]
            if hwaccel is None:
                return create(name, mode)
            self.used.append(name)
            return Decoder(create(SOFTWARE.get(name, name), mode), self)

        return created

    def _opened(self, open: Any) -> Any:
        def opened(file: str, mode: str = "r", **settings: Any) -> Any:
            container = open(file, mode, **settings)
            return Writer(container, self) if mode == "w" else container

        return opened


class Proxy:
    """Something of PyAV's, but for what a subclass says."""

    def __init__(self, real: Any, card: FakeCard) -> None:
        self.__dict__.update(real=real, card=card, num_frames=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)

    def count(self, limit: int | None) -> None:
        """One frame more."""
        self.__dict__["num_frames"] += 1
        if limit is not None and self.num_frames > limit:
            raise GONE


class Decoder(Proxy):
    is_hwaccel = True

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        frames = self.real.decode(packet)
        for _ in frames:
            self.count(self.card.decodes)
        return [wrong(frame) for frame in frames] if self.card.errs else frames


def wrong(frame: av.VideoFrame) -> av.VideoFrame:
    """The same but for a level of one pixel."""
    picture = frame.to_ndarray()
    picture[7, 7] ^= 1
    other = av.VideoFrame.from_ndarray(picture, frame.format.name)
    other.pts, other.color_range, other.colorspace = frame.pts, frame.color_range, frame.colorspace
    return other


class Writer(Proxy):
    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self.real.close()

    def add_stream(self, name: str, *, rate: Any, options: dict[str, str]) -> Any:
        if name != NVENC:
            return self.real.add_stream(name, rate=rate, options=options)
        self.card.used.append(name)
        mine = {"preset": "veryfast", "crf": "18", "g": options["g"], "bf": "0", "sc_threshold": "0"}
        return Encoder(self.real.add_stream("libx264", rate=rate, options=mine), self.card)


class Encoder(Proxy):
    def encode(self, frame: av.VideoFrame | None) -> list[av.Packet]:
        if frame is not None:
            self.count(self.card.encodes)
        return self.real.encode(frame)


@dataclass
class Session:
    """Of the encoder, without a picture."""

    is_refused: bool

    def open(self) -> None:
        if self.is_refused:
            raise av.error.MemoryError(12, "Cannot allocate memory")
