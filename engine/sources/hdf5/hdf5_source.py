"""Open a folder of HDF5 recordings by the layout that its files fit, or that the user names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import Facts, Message, Remedy, Setting, is_path
from millrace.engine.errors import DatasetError, EpisodeDataError, FaultCode, UnknownLayout, length_advice
from millrace.engine.fps import format_fps
from millrace.engine.sources.containment import check_own_path
from millrace.engine.sources.dataset import Feature, SourceDataset
from millrace.engine.sources.episode import (
    MAX_FRAMES,
    BadEpisode,
    Camera,
    PixelOrder,
    RowRange,
    SourceEpisode,
    SourceFault,
)
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.hdf5.hdf5_episodes import (
    MAX_TRIED,
    Hdf5Camera,
    Hdf5Episode,
    fits_layout,
    list_groups,
    read_episode,
)
from millrace.engine.sources.hdf5.hdf5_features import (
    camera_feature,
    describe_keys,
    list_unused,
    read_vectors_and_extras,
)
from millrace.engine.sources.hdf5.hdf5_file import find_object, open_hdf5
from millrace.engine.sources.hdf5.hdf5_folders import list_linked_folders, list_recordings
from millrace.engine.sources.hdf5.hdf5_images import Hdf5Images
from millrace.engine.sources.hdf5.hdf5_layout import OWN_LAYOUT, Hdf5Layout, layout_names, load_layout
from millrace.engine.sources.hdf5.hdf5_rows import Hdf5Rows
from millrace.engine.sources.hdf5.hdf5_splits import read_splits
from millrace.engine.sources.natural_order import natural_key
from millrace.engine.sources.read_options import ReadOptions
from millrace.engine.text import join_names, printable

NUMBER = re.compile(r"\d{1,18}")
MAX_LISTED = 20  # names in a note


def open_recordings(root: Path, files: SourceFiles = LOCAL, options: ReadOptions = ReadOptions()) -> SourceDataset:
    """Read which episodes the files hold, how long they are and what their cameras are; no frame is read.

    Raises:
        DatasetError: no layout fits, the rate is not known, or no file can be read.
    """
    paths = sorted(list_recordings(root), key=lambda path: natural_key(str(path.relative_to(root))))
    found = _Opening(root, paths, files, options).read()
    if linked := list_linked_folders(root):
        names = join_names([printable(path.relative_to(root)) for path in linked], MAX_LISTED)
        found = replace(found, notes=(*found.notes, f"{root}: no HDF5 files are looked for in linked folders: {names}"))
    return found


def open_recording(path: Path, files: SourceFiles = LOCAL, options: ReadOptions = ReadOptions()) -> SourceDataset:
    """Read one file as a dataset; see `open_recordings`."""
    return replace(_Opening(path.parent, [path], files, options).read(), file=path)


@dataclass(frozen=True)
class _File:
    """What one file holds. splits: groups of episodes by name."""

    path: Path
    episodes: tuple[Hdf5Episode, ...]
    splits: Mapping[str, frozenset[str]] = field(default_factory=dict)


class _Opening:
    """The files of a folder, read by one layout."""

    def __init__(self, root: Path, paths: Sequence[Path], files: SourceFiles, options: ReadOptions) -> None:
        self.root, self.paths, self.files, self.options = root, paths, files, options
        self.bounds = files.bounds(root)
        self.name, self.layout = self._choose_layout()
        self.features: dict[str, Feature] = {}
        self.keys: Mapping[str, tuple[str, ...]] = {}
        self.unused: tuple[str, ...] = ()

    def read(self) -> SourceDataset:
        """The dataset.

        Raises:
            DatasetError: the rate is not known, or no file can be read.
        """
        found = [self._read_file(path) for path in self.paths]
        recorded = [episode for file in found for episode in file.episodes]
        if not self.keys:
            errors = (episode.error for episode in recorded if episode.error is not None)
            raise DatasetError(next(errors), file=self.paths[0])
        fps = self._rate(recorded)
        numbers = _numbers(found, self.layout)
        episodes, bad = [], []
        for index, episode in sorted(zip(numbers, recorded, strict=True), key=lambda pair: pair[0]):
            try:
                episodes.append(self._episode(index, episode))
            except EpisodeDataError as error:
                bad.append(BadEpisode(index, SourceFault(error.code, error.message, facts=error.facts)))
        return SourceDataset(
            root=self.root,
            layout=f"HDF5, {self.name}",
            fps=fps,
            robot_type=self.layout.robot_type,
            features=self.features,
            tasks=dict(enumerate(dict.fromkeys(text for episode in episodes for text in episode.tasks))),
            episodes=episodes,
            files=self.files,
            bad=tuple(bad),
            splits=_splits(found, numbers),
            notes=(*self._notes(), *_copy_notes(found)),
        )

    def _notes(self) -> Iterator[str]:
        if self.layout.note:
            yield f"{self.root}: {self.layout.note}"
        if self.unused:
            names = join_names(self.unused, MAX_LISTED)
            yield f"{self.root}: left out, as they are neither camera nor column: {names}"

    def _choose_layout(self) -> tuple[str, Hdf5Layout]:
        """The layout that the user names, that lies beside the files, or that one of the first sound files fits."""
        if self.options.format is not None:
            name = self.options.format
            return Path(name).name if is_path(name) else name, load_layout(name)
        if (own := self.root / OWN_LAYOUT).is_file():
            return OWN_LAYOUT, load_layout(check_own_path(own, self.bounds))
        unknown: list[UnknownLayout] = []
        damage: DatasetError | None = None
        for path in self.paths:
            try:
                return self._find_layout(path)
            except UnknownLayout as problem:
                unknown.append(problem)
                if len(unknown) == MAX_TRIED:
                    break
            except EpisodeDataError as problem:
                damage = damage or DatasetError(problem, file=path)
        raise next(iter(unknown), damage) or DatasetError(f"no HDF5 file in {self.root}")

    def _find_layout(self, path: Path) -> tuple[str, Hdf5Layout]:
        with open_hdf5(path, self.bounds) as file:
            for name in layout_names():
                if fits_layout(file, layout := load_layout(name)):
                    return name, layout
            known = ", ".join(layout_names())
            draft = Remedy(f"`millrace robots new --from {path}` drafts a layout; name one with ", Setting("format"))
            raise UnknownLayout(
                f"{path} fits no known layout of HDF5 files ({known}): it holds {describe_keys(file)}; ",
                draft,
                file=path,
                known=tuple(layout_names()),
            )

    def _read_file(self, path: Path) -> _File:
        """A file that cannot be read counts as one episode."""
        try:
            with open_hdf5(path, self.bounds, error=EpisodeDataError) as file:
                splits = read_splits(file, self.layout)
                groups = list_groups(file, self.layout)
                episodes = tuple(read_episode(file, path, group, self.layout) for group in groups)
                sound = next((episode for episode in episodes if episode.error is None), None)
                if not self.keys and sound is not None:
                    group = find_object(file, sound.group)
                    features, self.keys = read_vectors_and_extras(group, self.layout)
                    self.features = features | self.features
                    self.unused = tuple(list_unused(group, self.layout, self.keys))
                for episode in episodes:
                    for name, camera in episode.cameras.items():
                        key, feature = camera_feature(name, camera)
                        self.features.setdefault(key, feature)
                return _File(path, episodes, splits)
        except EpisodeDataError as error:
            return _File(path, (Hdf5Episode(path, "", error=error),))

    def _rate(self, recorded: Sequence[Hdf5Episode]) -> Fraction:
        rates: dict[Fraction, Hdf5Episode] = {}
        for episode in recorded:
            if episode.rate is not None:
                rates.setdefault(episode.rate, episode)
        if len(rates) > 1 and self.options.fps is None:
            is_one = len(self.paths) == 1
            places = ((printable(one.group if is_one else one.path), rate) for rate, one in rates.items())
            listed = join_names([f"{place} {format_fps(rate)} Hz" for place, rate in places], MAX_LISTED)
            advice = Remedy("convert them as several sources, or pass ", Setting("source_fps", "HZ"))
            what = f"episodes of {self.paths[0]}" if is_one else "files"
            raise DatasetError(f"{what} of different rates: {listed}; ", advice, got=sorted(map(str, rates)))
        rate = self.options.fps if len(rates) > 1 else next(iter(rates), self.options.fps)
        if rate is None:
            advice = Remedy("say at how many Hz it was recorded: ", Setting("source_fps", "HZ"))
            raise DatasetError(f"{self.root} does not say its rate, nor does the layout '{self.name}'; ", advice)
        return rate

    def _episode(self, index: int, recorded: Hdf5Episode) -> SourceEpisode:
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


def _numbers(found: Sequence[_File], layout: Hdf5Layout) -> list[int]:
    """The number of each episode: that in its name where all differ, else by place."""
    if not layout.episodes:
        names = [file.path.stem for file in found]
    elif len(found) == 1:
        names = [episode.group.rpartition("/")[2] for episode in found[0].episodes]
    else:
        names = []
    in_all = [number for name in names if (number := _last_number(name)) is not None]
    num_episodes = sum(len(file.episodes) for file in found)
    return in_all if len(set(in_all)) == num_episodes else list(range(num_episodes))


def _copy_notes(found: Sequence[_File]) -> Iterator[str]:
    """Files whose demonstrations have the same names and lengths, as robomimic's demo.hdf5 and low_dim.hdf5."""
    seen: dict[object, Path] = {}
    for file in found:
        held = tuple(
            (episode.group, tuple(episode.lengths.values())[-1:]) for episode in file.episodes if episode.group
        )
        first = seen.setdefault(held, file.path)
        if held and first != file.path:
            yield (
                f"warning: {first} and {file.path} hold episodes of the same names and lengths: if these are the same "
                "demonstrations, name one of the files in place of their folder"
            )


def _splits(found: Sequence[_File], numbers: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The episodes of each split of all files, in order."""
    splits: dict[str, list[int]] = {}
    groups = ((file.splits, episode.group) for file in found for episode in file.episodes)
    for number, (named, group) in zip(numbers, groups, strict=True):
        for name in (name for name, members in named.items() if group in members):
            splits.setdefault(name, []).append(number)
    return {name: tuple(sorted(episodes)) for name, episodes in splits.items()}


def _last_number(name: str) -> int | None:
    found = NUMBER.findall(name)
    return int(found[-1]) if found else None
