"""What a recording of rerun holds, read back by rerun itself."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from support.barcode import Stamp, read


@dataclass(frozen=True)
class LoggedColumn:
    """Values of one component of an entity, and when they hold, by timeline; none of what always holds."""

    values: list[Any]
    times: dict[str, NDArray[np.int64]]


def read_recording(path: Path) -> dict[tuple[str, str], LoggedColumn]:
    """Every component by entity and name, such as ("/dataset/joints/left_arm/state", "Scalars:scalars")."""
    found: dict[tuple[str, str], LoggedColumn] = {}
    for chunk in _reader()(str(path)).stream():
        batch = chunk.to_record_batch()
        timelines = [name for name in chunk.timeline_names if name in batch.schema.names]
        times = {name: np.array(batch[name].cast("int64").to_pylist(), dtype=np.int64) for name in timelines}
        for name in batch.schema.names:
            if ":" in name:
                before = found.get((chunk.entity_path, name), LoggedColumn([], {}))
                joined = {key: np.concatenate([before.times.get(key, []), ticks]) for key, ticks in times.items()}
                found[chunk.entity_path, name] = LoggedColumn([*before.values, *batch[name].to_pylist()], joined)
    return {key: _sort(column) for key, column in found.items()}


def read_shown_stamps(recording: dict[tuple[str, str], LoggedColumn], entity: str) -> list[Stamp]:
    """What a camera's frames say about themselves, in the order in which they are shown."""
    if (images := recording.get((entity, "EncodedImage:blob"))) is not None:
        return [read(decode_jpeg(blob)) for (blob,) in images.values]
    import rerun

    ((content,),) = recording[entity, "AssetVideo:blob"].values
    stored = bytes(content)
    with av.open(BytesIO(stored)) as container:
        stamps = [read(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    # rerun counts from the first frame that is decoded, libav from the first that is shown.
    times = sorted(rerun.AssetVideo(contents=stored, media_type="video/mp4").read_frame_timestamps_nanos().tolist())
    places = {time: place for place, time in enumerate(times)}
    assert len(places) == len(stamps)
    return [stamps[places[time]] for (time,) in recording[entity, "VideoFrameReference:timestamp"].values]


def decode_jpeg(content: list[int]) -> NDArray[np.uint8]:
    return _decode("mjpeg", content).to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def decode_png(content: list[int]) -> NDArray[np.uint16]:
    """Grey of 16 bits, (H, W)."""
    return _decode("png", content).to_ndarray(format="gray16be").astype(np.uint16, copy=False)


def _decode(codec: str, content: list[int]) -> av.VideoFrame:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    (frame,) = [*context.decode(av.Packet(bytes(content))), *context.decode(None)]
    return frame


def _reader() -> Any:
    """rerun's reader of files, which has moved between its versions."""
    try:
        from rerun.chunk import RrdReader
    except ImportError:
        from rerun.experimental import RrdReader
    return RrdReader


def _sort(column: LoggedColumn) -> LoggedColumn:
    if not column.times:
        return column
    order = np.argsort(next(iter(column.times.values())), kind="stable")
    times = {name: ticks[order] for name, ticks in column.times.items()}
    return LoggedColumn([column.values[place] for place in order], times)
