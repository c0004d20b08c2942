"""Decoders that work on NVIDIA's fixed-function engine, NVDEC, through libav."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Any, Literal, NamedTuple, cast

import av
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.video.decoder_limits import CODEC_OPTIONS
from millrace.engine.video.gpu.context import shared_context

# libav's decoders that use NVDEC. For AV1 it is not the one that libav prefers, dav1d.
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "av1"}
# 8-bit 4:2:0: what NVDEC gives back as NV12.
FORMATS = ("yuv420p", "yuvj420p")
SkipType = Literal["NONE", "DEFAULT", "NONREF", "BIDIR", "NONINTRA", "NONKEY", "ALL"]
COLOR_TAGS = ("color_range", "colorspace", "color_primaries", "color_trc")
# Streams whose parameter sets are all in the file's header, so that nothing of one stays in a decoder for the next.
REUSABLE_TAGS = ("avc1", "av01")
# Opened decoders that are kept: one for each kind of stream of a few cameras.
MAX_KEPT = 4


class _StreamKind(NamedTuple):
    """The parameters that a decoder is opened with."""

    codec: str
    extradata: bytes | None
    size: tuple[int, int]
    colors: tuple[int, ...]


class Nvdec:
    """Opens decoders for streams: on the card for those codecs that it decodes correctly, else libav's usual one.

    A decoder is valid until the next call, which may return it again for a stream of the same kind: opening one takes
    as long as decoding a short clip, and the last one that closes takes the CUDA context along.

    keeps_frames: frames stay on the card, of format "cuda" (PyAV 18.1); or else they are copied to the host, as NV12.
    index: of the card, among those that this process sees.
    """

    def __init__(self, codecs: Collection[str], *, keeps_frames: bool, index: int = 0) -> None:
        self.codecs, self.keeps_frames, self.index = tuple(codecs), keeps_frames, index
        self._kept: OrderedDict[_StreamKind, VideoCodecContext] = OrderedDict()

    def __call__(self, stream: VideoStream) -> VideoCodecContext:
        """Raises VideoError when the card refuses the stream."""
        software: VideoCodecContext = stream.codec_context
        codec = software.codec.canonical_name
        if codec not in self.codecs or not _is_suitable(software):
            return software
        kind = _StreamKind(codec, software.extradata, (software.width, software.height), _colors(software))
        decoder = self._kept.pop(kind, None)
        if decoder is None or software.codec_tag not in REUSABLE_TAGS:
            decoder = self._open(software)
        else:
            decoder.flush_buffers()
            decoder.skip_frame = "DEFAULT"
        self._kept[kind] = decoder
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return decoder

    def _open(self, software: VideoCodecContext) -> VideoCodecContext:
        codec = software.codec.canonical_name
        try:
            with shared_context(self.index) as context:
                decoder: VideoCodecContext = av.CodecContext.create(
                    DECODERS[codec], "r", hwaccel=self._hwaccel(context)
                )
        except av.FFmpegError as error:
            raise VideoError(f"libav cannot use the GPU ({error.strerror})", code=FaultCode.GPU) from error
        if not decoder.is_hwaccel:
            raise VideoError(f"libav's {DECODERS[codec]} decoder has no NVDEC below it", code=FaultCode.GPU)
        decoder.extradata = software.extradata
        decoder.thread_count = 1
        decoder.options = CODEC_OPTIONS
        for tag in COLOR_TAGS:  # the container may know what the stream does not say
            setattr(decoder, tag, getattr(software, tag))
        return decoder if self.keeps_frames else cast(VideoCodecContext, TaggingDecoder(decoder))

    def _hwaccel(self, context: dict[str, str]) -> HWAccel:
        options: dict[str, Any] = {"options": context, "allow_software_fallback": False}
        if self.keeps_frames:  # not in PyAV 15 and 16
            options["is_hw_owned"] = True
        return HWAccel("cuda", device=str(self.index), **options)


class TaggingDecoder:
    """A decoder that tags its frames with the colours of its stream, which PyAV below 18 loses on a card.

    It has the methods of a VideoCodecContext that decoding needs.
    """

    def __init__(self, decoder: VideoCodecContext) -> None:
        self._decoder = decoder

    @property
    def name(self) -> str:
        """libav's name of the decoder."""
        return str(self._decoder.name)

    @property
    def skip_frame(self) -> SkipType:
        """Which frames need not be decoded, in libav's words."""
        skip: SkipType = self._decoder.skip_frame
        return skip

    @skip_frame.setter
    def skip_frame(self, value: SkipType) -> None:
        self._decoder.skip_frame = value

    def open(self, *, strict: bool) -> None:
        """Open the decoder; strict: fail if it is open already."""
        self._decoder.open(strict=strict)

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Decode a packet and return the frames that it completes; None: the remaining frames."""
        frames: list[av.VideoFrame] = self._decoder.decode(packet)
        for frame in frames:
            frame.colorspace, frame.color_range = self._decoder.colorspace, self._decoder.color_range
        return frames

    def flush_buffers(self) -> None:
        """Discard decoded data, as after a seek."""
        self._decoder.flush_buffers()


def _colors(codec: VideoCodecContext) -> tuple[int, ...]:
    return tuple(int(getattr(codec, tag)) for tag in COLOR_TAGS)


def _is_suitable(codec: VideoCodecContext) -> bool:
    return codec.pix_fmt in FORMATS and codec.width % 2 == codec.height % 2 == 0
