"""The size of each camera's frames: in its sources, and in the output."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from millrace.embodiments import MillraceError, Remedy, Setting
from millrace.engine.errors import RecipeError
from millrace.engine.planning.image_size import OWN_SIZE, describe_image_size, even_sizes, parse_image_size
from millrace.engine.planning.prepare import PreparedSource
from millrace.engine.sources import Camera, Clip, SourceDataset
from millrace.engine.text import join_names
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import decode_clip
from millrace.engine.video.frame_size import MIN_SIDE, FrameSize, nearest_even
from millrace.engine.video.reframe import Crop
from millrace.engine.video.stream_facts import read_stream_facts
from millrace.engine.video.thumbnails import info_image_size


@dataclass(frozen=True)
class _CameraSource:
    """A camera of the output in one source. own: the size of its frames there; None where nothing says."""

    address: str
    camera: str
    own: FrameSize | None

    def __str__(self) -> str:
        return f"{self.address}, camera '{self.camera}'"


def output_sizes(
    image_size: int | str, sources: Sequence[PreparedSource], cameras: Sequence[str], *, crop: Crop
) -> dict[str, FrameSize]:
    """The size of each camera's frames in the output; metadata and headers are read where it depends on the sources.

    Args:
        image_size: As the recipe has it.
        sources: Of the recipe.
        cameras: Of the output.
        crop: "none" keeps whole frames, so that cameras may differ in size.

    Raises:
        RecipeError: a camera's frames have several aspects, another than the size given, or a size that 4:2:0 cannot
            keep; names the camera.
    """
    wanted = parse_image_size(image_size)
    if crop != "none":
        assert wanted is not None, "a recipe's crop and image size were checked together"
        return dict.fromkeys(cameras, wanted)
    return {camera: _whole_size(camera, _find_sources(camera, sources), image_size) for camera in cameras}


def _find_sources(camera: str, sources: Sequence[PreparedSource]) -> list[_CameraSource]:
    given = [(source.dataset, source.cameras[camera]) for source in sources if camera in source.cameras]
    return [_CameraSource(dataset.address, name, read_frame_size(dataset, name)) for dataset, name in given]


def _whole_size(camera: str, sources: Sequence[_CameraSource], image_size: int | str) -> FrameSize:
    """The one size in which all sources' whole frames of a camera can be shown."""
    by_size = {_size_of(source, image_size): source for source in reversed(sources)}
    if len(by_size) > 1:
        listed = join_names([f"{size} in {source.address}" for size, source in sorted(by_size.items())], 6)
        raise RecipeError(
            f"whole frames of camera '{camera}' have several sizes: {listed}. ",
            Remedy(
                "Make them one size: ",
                Setting("image_size", describe_image_size(min(by_size))),
                " and ",
                Setting("crop", "pad"),
                " (or center), or give them different names with ",
                Setting("cameras"),
            ),
            camera=camera,
            got=sorted(map(str, by_size)),
        )
    return next(iter(by_size))


def _size_of(source: _CameraSource, image_size: int | str) -> FrameSize:
    wanted, own = parse_image_size(image_size), source.own
    if isinstance(image_size, str) and wanted is not None:
        return wanted if own is None else _check_shape(source, wanted, own)
    if own is None:
        advice = Remedy("Give ", Setting("image_size", "320x180"), " with ", Setting("crop", "pad"), " or center")
        raise RecipeError(f"{source}: nothing says how large its frames are. ", advice, camera=source.camera)
    if image_size == OWN_SIZE:
        return _check_even(source, own)
    assert wanted is not None, "what is no text names a side"
    size = own.scale_to(wanted.width)
    if min(size) < MIN_SIDE:
        problem = f"{source}: frames of {own} become {size}, and no side may be below {MIN_SIDE}. "
        raise RecipeError(problem, Remedy("Choose a larger ", Setting("image_size")), camera=source.camera)
    return size


def _check_shape(source: _CameraSource, wanted: FrameSize, own: FrameSize) -> FrameSize:
    if wanted.has_aspect_of(Fraction(own.width), Fraction(own.height)):
        return wanted
    longer = max(wanted)
    raise RecipeError(
        f"{source}: frames of {own} have another aspect than {wanted}, and ",
        Setting("crop", "none"),
        " keeps them whole. ",
        Remedy(
            Setting("image_size", longer),
            f" makes them {own.scale_to(longer)}; or pass ",
            Setting("crop", "pad"),
            " or center",
        ),
        camera=source.camera,
        got=str(own),
        expected=str(wanted),
    )


def _check_even(source: _CameraSource, own: FrameSize) -> FrameSize:
    if own.is_even:
        return own
    evens = even_sizes(own)
    names = " or ".join(map(describe_image_size, evens))
    raise RecipeError(
        f"{source}: frames of {own} cannot be kept as they are, as H.264 in 4:2:0 has even sizes only; the nearest are "
        f"{names}. ",
        Remedy("Pass ", Setting("image_size", describe_image_size(evens[0])), " with ", Setting("crop", "none")),
        camera=source.camera,
        got=str(own),
        expected=names,
    )


def read_frame_size(source: SourceDataset, camera: str) -> FrameSize | None:
    """A source camera's frames, by its first video, else by info.json, else by its first image; None if none says."""
    return _displayed_size(source, camera) or info_frame_size(source, camera) or _image_size(source, camera)


def info_frame_size(source: SourceDataset, camera: str) -> FrameSize | None:
    """A camera's frames in info.json; None if it does not say."""
    feature = source.features[source.camera_features[camera][0]]
    size = info_image_size(feature.shape, feature.names)
    return None if size is None or min(size) <= 0 else FrameSize(size[1], size[0])


def _displayed_size(source: SourceDataset, camera: str) -> FrameSize | None:
    """As a player shows a camera's first video; None where it is not on this machine, or cannot be read."""
    clip = _first_clip(source, camera)
    if clip is None or clip.video is None:
        return None
    try:
        return read_displayed_size(clip.video)
    except (MillraceError, OSError):
        return None


def read_displayed_size(video: Clip) -> FrameSize:
    """The frames of a video as a player shows them: turned, and with square pixels.

    Raises:
        VideoError: the file is missing, holds no video or is corrupt.
        OSError: it cannot be read.
    """
    facts = read_stream_facts(video)
    width, height = facts.size
    shown = FrameSize(width if facts.pixel_aspect == 1 else nearest_even(width * facts.pixel_aspect), height)
    return FrameSize(shown.height, shown.width) if read_boxes(video.path).is_on_its_side else shown


def _image_size(source: SourceDataset, camera: str) -> FrameSize | None:
    """A camera's first image, where images are files on this machine."""
    clip = _first_clip(source, camera)
    if clip is None or clip.video is not None:
        return None
    try:
        frame = next(iter(decode_clip(clip, np.arange(1))))
    except (MillraceError, OSError, StopIteration):
        return None
    return FrameSize(frame.width, frame.height)


def _first_clip(source: SourceDataset, camera: str) -> Camera | None:
    if source.is_remote:
        return None
    return next((episode.clips[camera] for episode in source.episodes if camera in episode.clips), None)
