"""Episodes of any length, made of a real one by repeating its packets and rows."""

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import OutputContainer
from av.video.stream import VideoStream

from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.planning.plan import ConversionPlan, EpisodePlan
from millrace.engine.sources import Clip, FileState, RowRange, SourceEpisode
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.video.decode import open_video


def lengthened(plan: ConversionPlan, num_frames: int, folder: Path) -> ConversionPlan:
    """The plan with one episode only, of `num_frames` source frames; its files are written to `folder`.

    Its source has an mp4 for each episode.
    """
    planned = plan.episodes[0]
    episode = _repeat(planned.episode, num_frames, folder)
    binding = plan.job.bindings[planned.binding]
    rates = {"source_fps": binding.fps, "target_fps": plan.job.video.fps}
    frames = choose_frames(episode.num_frames, **rates, resampler=plan.job.resample).frames
    states = tuple(map(FileState.read, episode.paths))
    long: EpisodePlan = replace(planned, index=0, first_index=0, episode=episode, num_frames=len(frames), states=states)
    return replace(plan, episodes=(long,))


def _repeat(episode: SourceEpisode, num_frames: int, folder: Path) -> SourceEpisode:
    rows = folder / "episode.parquet"
    ranges, _ = RowReader().read(episode, [])
    table = pa.concat_tables([_slice(part) for part in ranges])
    table = pa.concat_tables([table] * (-(-num_frames // len(table)))).slice(0, num_frames)
    numbers = pa.array(range(num_frames), pa.int64())
    pq.write_table(table.set_column(table.column_names.index("frame_index"), "frame_index", numbers), rows)
    clips = {}
    for camera, clip in episode.clips.items():
        assert isinstance(clip, Clip), "an mp4 for each episode"
        path = folder / f"{camera}.mp4"
        _repeat_packets(clip.path, path, num_frames)
        clips[camera] = replace(clip, path=path, num_frames=num_frames, root=None)
    return replace(episode, num_frames=num_frames, rows=(RowRange(rows),), clips=clips, search=None)


def _slice(rows: RowRange) -> pa.Table:
    table = pq.read_table(rows.path)
    return table.slice(rows.start, None if rows.stop is None else rows.stop - rows.start)


def _repeat_packets(source: Path, target: Path, num_frames: int) -> None:
    """Remux; only streams without B-frames can be cut anywhere, others at the end of a repetition."""
    with open_video(source) as (container, stream), av.open(str(target), "w") as out:
        copy = _copied_stream(out, stream)
        copy.time_base = stream.time_base
        packets = [packet for packet in container.demux(stream) if packet.size]
        step = int(1 / stream.average_rate / stream.time_base)
        for number, packet in zip(range(num_frames), cycle(packets)):
            offset = number // len(packets) * len(packets) * step
            repeated = av.Packet(bytes(packet))
            repeated.pts, repeated.dts = packet.pts + offset, packet.dts + offset
            repeated.is_keyframe, repeated.time_base = packet.is_keyframe, stream.time_base
            repeated.stream = copy
            out.mux(repeated)


def _copied_stream(out: OutputContainer, stream: VideoStream) -> VideoStream:
    codec = stream.codec_context
    if codec.codec.canonical_name == "av1":  # its decoder has another name than its encoders
        return out.add_mux_stream("av1", rate=stream.average_rate, width=codec.width, height=codec.height)
    return out.add_stream_from_template(stream)
