"""Source episodes of what an HDF5 file says of its episodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.embodiments import Facts, Message
from millrace.engine.errors import EpisodeDataError, FaultCode, length_advice
from millrace.engine.sources.dataset import Feature
from millrace.engine.sources.episode import MAX_FRAMES, Camera, PixelOrder, RowRange, SourceEpisode, SourceFault
from millrace.engine.sources.hdf5.hdf5_episodes import Hdf5Camera, Hdf5Episode
from millrace.engine.sources.hdf5.hdf5_features import camera_feature
from millrace.engine.sources.hdf5.hdf5_images import Hdf5Images
from millrace.engine.sources.hdf5.hdf5_layout import Hdf5Layout
from millrace.engine.sources.hdf5.hdf5_rows import Hdf5Rows


@dataclass(frozen=True)
class EpisodeBuilder:
    """Builds the episodes of a dataset.

    features: of the dataset. keys: of each column's values. bounds: the folder that its files must lie in.
    """

    layout: Hdf5Layout
    features: Mapping[str, Feature]
    keys: Mapping[str, tuple[str, ...]]
    bounds: Path

    def build(self, index: int, recorded: Hdf5Episode) -> SourceEpisode:
        """The episode; numbers of rows and images that differ are its faults.

        Raises:
            EpisodeDataError: it cannot be read.
        """
        if recorded.error is not None:
            raise recorded.error
        lengths = recorded.lengths
        num_frames = lengths[next(iter(self.layout.action))]
        if not 0 < num_frames <= MAX_FRAMES:
            message = f"{recorded.path}, '{recorded.group}': {num_frames} frames, expected 1 to {MAX_FRAMES}"
            raise EpisodeDataError(message, code=FaultCode.ROW_COUNT, file=recorded.path, got=num_frames)
        clips: dict[str, Camera] = {}
        for name, camera in recorded.cameras.items():
            if self.features[camera_feature(name, camera)[0]].is_camera:
                clips[name] = self._images(recorded, name, num_frames)
        is_even = set(lengths.values()) == {num_frames}
        return SourceEpisode(
            index=index,
            num_frames=num_frames,
            rows=(self._rows(recorded, min(lengths.values())),),
            clips=clips,
            tasks=() if recorded.task is None else (recorded.task,),
            faults=tuple(_count_faults(recorded, clips, num_frames)),
            lengths={} if is_even else {f"'{key}'": number for key, number in lengths.items()},
        )

    def _rows(self, recorded: Hdf5Episode, num_rows: int) -> RowRange:
        vectors = tuple((column, keys) for column, keys in self.keys.items())
        opened = Hdf5Rows(recorded.group, vectors)
        return RowRange(recorded.path, 0, num_rows, root=self.bounds, open=opened, group=recorded.group)

    def _images(self, recorded: Hdf5Episode, name: str, num_frames: int) -> Hdf5Images:
        camera = recorded.cameras[name]
        return Hdf5Images(
            path=recorded.path,
            group=recorded.group,
            key=camera.key.key,
            num_frames=num_frames,
            num_stored=camera.num_images,
            flip=camera.key.flip or recorded.flip,
            order=self._color_order(camera),
            root=self.bounds,
        )

    def _color_order(self, camera: Hdf5Camera) -> PixelOrder:
        """Only arrays have a shape before they are decoded."""
        if camera.shape:
            return camera.key.color_order or self.layout.color_order
        return camera.key.jpeg_order or self.layout.jpeg_order


def _count_faults(recorded: Hdf5Episode, clips: Mapping[str, Camera], num_frames: int) -> Iterator[SourceFault]:
    """Rows and images that are more or fewer than the actions, each with what may be done."""
    for key, number in recorded.lengths.items():
        if number != num_frames:
            message = f"{number} rows of '{key}', but {num_frames} actions in {recorded.path}; "
            yield _count_fault(FaultCode.ROW_COUNT, message, number, num_frames, recorded.path)
    for name in clips:
        if (number := recorded.cameras[name].num_images) != num_frames:
            message = f"{number} images, but {num_frames} actions in {recorded.path}; "
            fault = _count_fault(FaultCode.FRAME_COUNT, message, number, num_frames, recorded.path)
            yield replace(fault, camera=name)


def _count_fault(code: FaultCode, message: str, number: int, num_frames: int, path: Path) -> SourceFault:
    reason = Message(message, length_advice(num_frames, number))
    return SourceFault(code, reason, facts=Facts(file=path, got=number, expected=num_frames))
