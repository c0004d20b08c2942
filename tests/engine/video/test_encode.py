"""What is encoded has a constant rate from 0, short closed GOPs, no B-frames, its colours, the same bytes always."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from conftest import REPOSITORY, video_path
from millrace.engine.errors import VideoError
from millrace.engine.sources import Clip
from millrace.engine.video.decode import decode_frames, open_video
from millrace.engine.video.encode import VideoSettings, write_h264
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.probe import VideoFacts, probe_video
from millrace.engine.video.reframe import Reframer
from millrace.engine.video.stream_facts import read_stream_facts
from support.barcode import Stamp, draw
from support.synthetic import read_stamps, truncate_file, write_video

NUM_FRAMES = 47


def frames(num_frames: int = NUM_FRAMES, *, size: int = 64) -> Iterator[av.VideoFrame]:
    """yuv420p frames that carry their number."""
    for number in range(num_frames):
        yield av.VideoFrame.from_ndarray(draw(number, 0, 0, size, size), "rgb24").reformat(format="yuv420p")


def settings(**changes: Any) -> VideoSettings:
    return VideoSettings(**{"fps": Fraction(20), "size": FrameSize.square(64), **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoded") / "a.mp4"
    assert write_h264(path, frames(), settings()) == NUM_FRAMES
    return path


def test_every_frame_is_written_once_and_in_order(written: Path) -> None:
    assert read_stamps(written) == [Stamp(number) for number in range(NUM_FRAMES)]


def test_the_file_is_what_readers_want(written: Path) -> None:
    assert probe_video(written) == VideoFacts(
        codec="h264",
        pix_fmt="yuv420p",
        width=64,
        height=64,
        num_frames=NUM_FRAMES,
        fps=Fraction(20),
        first_pts=0,
        is_constant_rate=True,
        has_b_frames=False,
        gop=10,
    )


@pytest.mark.parametrize(
    "fps", [Fraction(20), Fraction(30000, 1001), Fraction(25, 2), Fraction(50), Fraction(997, 1000), Fraction(7, 3)]
)
def test_any_rate_is_constant_and_exact(tmp_path: Path, fps: Fraction) -> None:
    write_h264(tmp_path / "a.mp4", frames(), settings(fps=fps))
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.start_time, stream.frames) == (fps, 0, NUM_FRAMES)
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    assert times == [number / fps for number in range(NUM_FRAMES)]


@pytest.mark.parametrize("gop", [1, 2, 10, 25])
def test_key_frames_stand_every_gop_frames_and_nowhere_else(tmp_path: Path, gop: int) -> None:
    # Decoded frames remember that they were key frames, every second one in LeRobot's AV1; x264 would obey.
    write_video(tmp_path / "source.mp4", num_frames=NUM_FRAMES, fps=20)
    with av.open(str(tmp_path / "source.mp4")) as source:
        cropped = (frame.reformat(width=64, height=64) for frame in source.decode(video=0))
        write_h264(tmp_path / "a.mp4", cropped, settings(gop=gop))
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys == [number % gop == 0 for number in range(NUM_FRAMES)]


def test_x264_is_set_as_promised(written: Path) -> None:
    # x264 writes its settings into the stream.
    stored = written.read_bytes()
    promised = [b"keyint=10 ", b"bframes=0 ", b"crf=18.0 ", b"scenecut=0 ", b"threads=1 "]
    fastdecode = [b"cabac=0 ", b"deblock=0:"]
    veryfast = [b"ref=1 ", b"subme=2 ", b"trellis=0 "]
    assert [option for option in (*promised, *fastdecode, *veryfast) if option not in stored] == []


def test_every_group_can_be_decoded_alone(written: Path) -> None:
    with av.open(str(written)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        extradata = container.streams.video[0].codec_context.extradata
    for start in range(0, NUM_FRAMES, 10):
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = extradata
        decoded = [frame for packet in [*packets[start : start + 10], None] for frame in decoder.decode(packet)]
        assert len(decoded) == min(10, NUM_FRAMES - start)
        assert not any(frame.is_corrupt for frame in decoded)


def test_the_index_stands_before_the_pictures(written: Path) -> None:
    stored = written.read_bytes()
    assert 0 < stored.index(b"moov") < stored.index(b"mdat")


def test_no_date_is_stored(written: Path) -> None:
    stored = written.read_bytes()
    for box, num_boxes in ((b"mvhd", 1), (b"tkhd", 1), (b"mdhd", 1)):
        assert stored.count(box) == num_boxes
        start = stored.index(box) + len(box)
        version, dates = stored[start], stored[start + 4 : start + 12]
        assert (version, dates) == (0, bytes(8)), f"{box!r} holds a date"


def test_equal_frames_give_equal_bytes(written: Path, tmp_path: Path) -> None:
    write_h264(tmp_path / "another name.mp4", frames(), settings())
    assert (tmp_path / "another name.mp4").read_bytes() == written.read_bytes()


@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("colorspace", [Colorspace.ITU709, Colorspace.ITU601])
def test_colour_tags_are_carried_over(tmp_path: Path, color_range: ColorRange, colorspace: Colorspace) -> None:
    def tagged() -> Iterator[av.VideoFrame]:
        for frame in frames(3):
            frame.color_range, frame.colorspace = color_range, colorspace
            yield frame

    write_h264(tmp_path / "a.mp4", tagged(), settings())
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = next(container.decode(video=0))
    assert (int(decoded.color_range), int(decoded.colorspace)) == (int(color_range), int(colorspace))
    assert decoded.format.name in ("yuv420p", "yuvj420p")


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert write_h264(tmp_path / "a.mp4", frames(1), settings()) == 1
    assert read_stamps(tmp_path / "a.mp4") == [Stamp(0)]
    assert probe_video(tmp_path / "a.mp4").num_frames == 1


def test_the_probe_counts_packets_and_trusts_no_header(written: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(written.read_bytes())
    truncate_file(cut, 0.75)
    with av.open(str(cut)) as container:
        assert container.streams.video[0].frames == NUM_FRAMES
    with pytest.raises(VideoError, match=r"cut\.mp4 is truncated or corrupt"):
        probe_video(cut)


class WithoutAssembly(VideoSettings):
    """As a processor encodes that has none of x264's instruction sets."""

    @property
    def options(self) -> dict[str, str]:
        options = super().options
        return {**options, "x264-params": options["x264-params"] + ":asm=0"}


def test_the_bytes_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    clip = Clip(video_path(REPOSITORY / "examples/aloha", 0), 400, Fraction(50))
    for number, kind in enumerate((VideoSettings, WithoutAssembly)):
        reframe = Reframer(crop="center", size=FrameSize.square(256))
        shown = map(reframe, decode_frames(clip, np.arange(0, 200, 5)))
        write_h264(tmp_path / str(number), shown, kind(Fraction(20), FrameSize.square(256)))
    assert packets_of(tmp_path / "0") == packets_of(tmp_path / "1")


def packets_of(path: Path) -> list[bytes]:
    """The coded pictures, without x264's note of its own options before the first."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return packets[1:]


def test_primaries_and_transfer_are_those_of_the_source(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=50)
        codec = stream.codec_context
        codec.width, codec.height, codec.pix_fmt = 64, 64, "yuv420p"
        codec.color_primaries, codec.color_trc = 9, 16  # BT.2020, PQ (H.273)
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    tags = read_stream_facts(Clip(source, 20, Fraction(50))).color_tags
    assert tags == {"color_primaries": 9, "color_trc": 16}
    shown = map(
        Reframer(crop="center", size=FrameSize.square(64)), decode_frames(Clip(source, 20, Fraction(50)), np.arange(20))
    )
    write_h264(tmp_path / "out.mp4", shown, VideoSettings(Fraction(50), FrameSize.square(64)), color_tags=tags)
    assert read_stream_facts(Clip(tmp_path / "out.mp4", 20, Fraction(50))).color_tags == tags


def test_the_header_of_a_shared_video_is_read_once_until_the_file_changes(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(written.read_bytes())
    opened: list[Path] = []

    def counted(path: Path, root: Path | None) -> Any:
        opened.append(path)
        return open_video(path, root)

    monkeypatch.setattr("millrace.engine.video.stream_facts.open_video", counted)
    for start in range(4):
        assert read_stream_facts(Clip(path, 10, Fraction(20), start / 2, start / 2 + 0.5)).mean_fps == 20
    assert len(opened) == 1
    truncate_file(path, 0.9)
    read_stream_facts(Clip(path, 10, Fraction(20)))
    assert len(opened) == 2
