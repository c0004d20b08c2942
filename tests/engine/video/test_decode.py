"""Decoding only what wanted frames need gives the very pixels of a full decode; what is wrong with a video is told."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from millrace.engine.errors import FrameCountMismatch, VideoError
from millrace.engine.planning.resample import frame_indices
from millrace.engine.sources.episode import Clip
from millrace.engine.video.copy import choose_copy
from millrace.engine.video.decode import decode_frames
from millrace.engine.video.encode import VideoSettings, write_h264
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.packets import PacketInfo, PacketUse, plan_packets
from millrace.engine.video.probe import probe_video
from support.barcode import Stamp, draw, read
from support.synthetic import (
    SyntheticVideo,
    cut_by_edit_list,
    encode,
    replace_with_lfs_pointer,
    truncate_file,
    write_video,
)

NUM_FRAMES = 61
FPS = Fraction(50)
VIDEOS = {
    "av1-gop-2": SyntheticVideo(),
    "av1-gop-10": SyntheticVideo(gop=10),
    "av1-open-gop": SyntheticVideo(gop=10, open_gop=True),
    "av1-10-bit": SyntheticVideo(pix_fmt="yuv420p10le"),
    "h264-gop-250": SyntheticVideo(codec="libx264", gop=250, bframes=3),
    "h264-gop-12": SyntheticVideo(codec="libx264", gop=12, bframes=3),
    "h264-open-gop": SyntheticVideo(codec="libx264", gop=12, bframes=3, open_gop=True),
    "h264-intra": SyntheticVideo(codec="libx264", gop=1),
    "h264-444-odd": SyntheticVideo(codec="libx264", gop=12, bframes=2, pix_fmt="yuv444p", height=99, width=131),
    "hevc-gop-12": SyntheticVideo(codec="libx265", gop=12, bframes=3),
    "hevc-open-gop": SyntheticVideo(codec="libx265", gop=12, bframes=3, open_gop=True),
}


@dataclass(frozen=True)
class Video:
    """A file, and the digest of each of its pictures."""

    path: Path
    digests: list[str] = field(repr=False)


Videos = dict[str, Video]


def digest(frame: av.VideoFrame) -> str:
    """Of all samples of all planes, without the padding of their lines."""
    num_bytes = (frame.format.components[0].bits + 7) // 8
    found = hashlib.sha1(frame.format.name.encode())
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        found.update(lines[:, : plane.width * num_bytes].tobytes())
    return found.hexdigest()


def decode_fully(path: Path) -> list[str]:
    """The digest of every frame, by nothing but libav."""
    with av.open(str(path)) as container:
        return [digest(frame) for frame in container.decode(video=0)]


def test_texts_in_a_container_need_not_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, num_frames=4, fps=50, episode=0, video=VIDEOS["h264-intra"])
    content = path.read_bytes()
    assert b"VideoHandler" in content
    path.write_bytes(content.replace(b"VideoHandler", b"Video\xff\xfeHndlr"))
    assert len(decode_some(Clip(path, 4, FPS), [0, 3])) == 2


def decode_some(clip: Clip, indices: Sequence[int]) -> list[str]:
    return [digest(frame) for frame in decode_frames(clip, np.array(indices, dtype=np.int64))]


def stamps(clip: Clip, indices: NDArray[np.int64]) -> list[Stamp]:
    """What the pictures at `indices` say about themselves."""
    images = (frame.to_ndarray(format="rgb24") for frame in decode_frames(clip, indices))
    return [read(image.astype(np.uint8)) for image in images]


def nearest_at_20_hz(num_frames: int) -> NDArray[np.int64]:
    return frame_indices(num_frames, source_fps=FPS, target_fps=Fraction(20))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("videos")
    for name, video in VIDEOS.items():
        write_video(folder / f"{name}.mp4", num_frames=NUM_FRAMES, fps=FPS, video=video)
    return {name: Video(path := folder / f"{name}.mp4", decode_fully(path)) for name in VIDEOS}


@pytest.mark.parametrize("name", VIDEOS)
@settings(max_examples=25, deadline=None)
@given(wanted=st.sets(st.integers(0, NUM_FRAMES - 1), min_size=1))
def test_planned_frames_are_those_of_a_full_decode(name: str, wanted: set[int], videos: Videos) -> None:
    path, every = videos[name].path, videos[name].digests
    chosen = sorted(wanted)
    assert decode_some(Clip(path, NUM_FRAMES, FPS), chosen) == [every[index] for index in chosen]


@pytest.mark.parametrize("most", [0, 10_000])
def test_a_clip_too_large_to_be_held_is_read_once_more(
    videos: Videos, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.engine.video.decode.MAX_HELD_BYTES", most)
    wanted = [2, 3, 30, 60]
    for video in videos.values():
        assert video.path.stat().st_size > most
        assert decode_some(Clip(video.path, NUM_FRAMES, FPS), wanted) == [video.digests[index] for index in wanted]


@pytest.mark.parametrize("name", VIDEOS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_part_of_a_shared_file_is_that_part_of_a_full_decode(name: str, data: st.DataObject, videos: Videos) -> None:
    path, every = videos[name].path, videos[name].digests
    start = data.draw(st.integers(0, NUM_FRAMES - 1), label="start")
    num_frames = data.draw(st.integers(1, NUM_FRAMES - start), label="num_frames")
    chosen = sorted(data.draw(st.sets(st.integers(0, num_frames - 1), min_size=1), label="wanted"))
    clip = Clip(path, num_frames, FPS, start_seconds=float(start / FPS))
    assert decode_some(clip, chosen) == [every[start + index] for index in chosen]


@pytest.mark.parametrize("fps", [FPS, Fraction(30000, 1001)])
@pytest.mark.parametrize("name", ["av1-gop-2", "av1-gop-10", "h264-gop-250", "h264-open-gop", "hevc-open-gop"])
def test_episodes_of_one_file_keep_apart(tmp_path: Path, name: str, fps: Fraction) -> None:
    lengths = (17, 24, 5, 1, 30, 19)
    frames = [Stamp(frame, episode) for episode, length in enumerate(lengths) for frame in range(length)]
    encode(tmp_path / "shared.mp4", frames, fps=fps, video=VIDEOS[name])
    # Time stamps in metadata drift as floats are summed up.
    for (episode, length), drift in product(enumerate(lengths), (0.0, 1e-4, -1e-4, 0.004, -0.004)):
        start_seconds = max(0.0, float(sum(lengths[:episode]) / fps) + drift)
        clip = Clip(tmp_path / "shared.mp4", length, fps, start_seconds)
        for chosen in (np.arange(length), nearest_at_20_hz(length), np.array([length - 1])):
            assert stamps(clip, chosen) == [Stamp(index, episode) for index in chosen.tolist()]


def test_a_file_that_begins_before_zero_is_counted_from_its_first_frame(tmp_path: Path) -> None:
    # An edit list hides packets: here the first four of a stream copy.
    write_video(tmp_path / "whole.mp4", num_frames=40, fps=FPS, video=VIDEOS["h264-gop-12"])
    with av.open(str(tmp_path / "whole.mp4")) as whole, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        source = whole.streams.video[0]
        stream = cut.add_stream_from_template(source)
        for packet in whole.demux(source):
            if packet.size:
                packet.pts, packet.dts = packet.pts - round(4 / FPS / packet.time_base), None
                packet.stream = stream
                cut.mux(packet)
    shown = [read(image) for image in images_of(tmp_path / "cut.mp4")]
    assert shown[0].frame == 4
    assert len(packets_of(tmp_path / "cut.mp4")) > len(shown)
    assert stamps(Clip(tmp_path / "cut.mp4", len(shown), FPS), np.arange(len(shown))) == shown


def images_of(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)]


def packets_of(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def uses_at_20_hz(path: Path) -> list[PacketUse]:
    """The plan for a conversion from 50 to 20 Hz."""
    packets = [PacketInfo(packet.pts, packet.is_keyframe) for packet in packets_of(path)]
    shown = sorted(packet.pts for packet in packets if packet.pts is not None)
    return plan_packets(packets, {shown[index] for index in nearest_at_20_hz(len(packets))})


@pytest.mark.parametrize(
    ("name", "num_decoded"),
    # AV1 with a key frame every second frame: of 61, 25 are wanted, 12 of them odd, which need their key frame.
    [("av1-gop-2", 31), ("h264-intra", 25)],
)
def test_fewer_packets_are_decoded(name: str, num_decoded: int, videos: Videos) -> None:
    uses = uses_at_20_hz(videos[name].path)
    assert uses.count(PacketUse.SHOW) == 25
    assert len(uses) - uses.count(PacketUse.SKIP) == num_decoded


@pytest.mark.parametrize("name", ["av1-gop-2", "h264-intra"])
def test_packets_that_the_plan_skips_are_never_decoded(name: str, tmp_path: Path, videos: Videos) -> None:
    path, every = videos[name].path, videos[name].digests
    stored = bytearray(path.read_bytes())
    for packet, use in zip(packets_of(path), uses_at_20_hz(path), strict=True):
        if use is PacketUse.SKIP:
            assert packet.pos is not None
            stored[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    (tmp_path / "spoilt.mp4").write_bytes(stored)
    chosen = nearest_at_20_hz(NUM_FRAMES).tolist()
    assert decode_some(Clip(tmp_path / "spoilt.mp4", NUM_FRAMES, FPS), chosen) == [every[index] for index in chosen]


@given(
    gops=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    wanted=st.sets(st.integers(0, 47)),
)
def test_the_plan_feeds_whole_prefixes_of_closed_groups(gops: list[int], wanted: set[int]) -> None:
    starts = np.cumsum([0, *gops])[:-1].tolist()
    packets = [PacketInfo(pts, pts in starts) for pts in range(sum(gops))]
    uses = plan_packets(packets, wanted)
    for start, size in zip(starts, gops, strict=True):
        shown = [pts for pts in range(start, start + size) if pts in wanted]
        stop = shown[-1] + 1 if shown else start
        fed = [pts for pts in range(start, start + size) if uses[pts] is not PacketUse.SKIP]
        assert fed == list(range(start, stop))
        assert [pts for pts in fed if uses[pts] is PacketUse.SHOW] == shown


def test_frames_come_one_at_a_time(videos: Videos) -> None:
    path, every = videos["av1-gop-2"].path, videos["av1-gop-2"].digests
    frames = decode_frames(Clip(path, NUM_FRAMES, FPS), np.array([0, 60]))
    assert digest(next(frames)) == every[0]


def fill_with_ones(path: Path) -> None:
    """Spoil the data of one packet in the middle, and only that."""
    packet = packets_of(path)[30]
    assert packet.pos is not None
    stored = bytearray(path.read_bytes())
    stored[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(stored)


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "no video at "),
    "folder": (replace_with_folder, "no video at "),
    "empty": (lambda path: truncate_file(path, 0), "is empty"),
    "truncated": (lambda path: truncate_file(path, 0.6), "truncated or corrupt"),
    "pointer": (replace_with_lfs_pointer, "Git LFS pointer"),
    "no video": (lambda path: path.write_bytes(b"\x00\x01" * 5000), "truncated or corrupt"),
    "only sound": (write_sound, "holds no video stream"),
    "corrupt": (fill_with_ones, "corrupt"),
}


@pytest.mark.parametrize("name", ["av1-gop-2", "h264-gop-250", "hevc-gop-12"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_video_is_an_error_that_names_the_file(name: str, fault: str, tmp_path: Path, videos: Videos) -> None:
    path = tmp_path / "episode_000001.mp4"
    shutil.copy(videos[name].path, path)
    spoil, told = FAULTS[fault]
    spoil(path)
    with pytest.raises(VideoError) as caught:
        decode_some(Clip(path, NUM_FRAMES, FPS), range(NUM_FRAMES))
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_rows", [1, NUM_FRAMES - 1, NUM_FRAMES + 1])
@pytest.mark.parametrize("name", VIDEOS)
def test_rows_and_frames_are_counted(name: str, num_rows: int, videos: Videos) -> None:
    path = videos[name].path
    with pytest.raises(FrameCountMismatch, match=rf"{num_rows} rows, but {NUM_FRAMES} frames in .*{name}\.mp4"):
        decode_some(Clip(path, num_rows, FPS), [0])


@pytest.mark.parametrize("name", ["av1-gop-2", "h264-gop-250"])
def test_a_shared_file_that_ends_too_early_is_told(name: str, videos: Videos) -> None:
    clip = Clip(videos[name].path, 20, FPS, start_seconds=float((NUM_FRAMES - 15) / FPS))
    with pytest.raises(FrameCountMismatch, match=r"20 rows, but 15 frames in .*\.mp4 from 0\.920 s on"):
        decode_some(clip, range(20))


def test_a_download_that_broke_off_is_told(tmp_path: Path) -> None:
    # The index of a faststart file survives what its pictures do not.
    path = tmp_path / "a.mp4"
    pictures = (
        av.VideoFrame.from_ndarray(draw(i, 0, 0, 64, 64), "rgb24").reformat(format="yuv420p") for i in range(40)
    )
    write_h264(path, pictures, VideoSettings(FPS, FrameSize.square(64)))
    truncate_file(path, 0.7)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        decode_some(Clip(path, 40, FPS), range(40))


@pytest.mark.parametrize(
    "playlist",
    ["#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{0}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{0}'\n"],
)
def test_a_playlist_opens_no_other_file(tmp_path: Path, playlist: str, videos: Videos) -> None:
    (tmp_path / "a.mp4").write_text(playlist.format(videos["h264-gop-250"].path))
    with pytest.raises(VideoError, match=r"a\.mp4 is truncated or corrupt"):
        decode_some(Clip(tmp_path / "a.mp4", NUM_FRAMES, FPS), [0])


@pytest.mark.parametrize("bframes", [0, 2])
def test_frames_that_an_edit_list_cuts_off_are_not_counted(bframes: int, tmp_path: Path) -> None:
    """As in what `ffmpeg -ss TIME -c copy` writes: the packets since the last key frame stay, but are not shown."""
    path = tmp_path / "cut.mp4"
    write_video(path, num_frames=43, fps=50, video=SyntheticVideo(codec="libx264", gop=10, bframes=bframes))
    cut_by_edit_list(path, 3)
    facts = probe_video(path)
    assert (facts.num_frames, facts.first_pts, facts.is_constant_rate) == (40, 0, True)
    assert stamps(Clip(path, 40, FPS), np.arange(0, 40, 2)) == [Stamp(frame) for frame in range(3, 43, 2)]
    assert choose_copy(Clip(path, 40, FPS), VideoSettings(FPS, FrameSize.square(96), 10)) is None
    with pytest.raises(FrameCountMismatch):
        stamps(Clip(path, 43, FPS), np.arange(43))
