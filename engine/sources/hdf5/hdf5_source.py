"""Open a folder of HDF5 recordings by the layout that its files fit, or that the user names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import DatasetError, EpisodeDataError
from millrace.engine.layout import ACTION
from millrace.engine.sources.dataset import Feature, SourceDataset
from millrace.engine.sources.episode import BadEpisode, SourceEpisode, SourceFault
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.hdf5.episode_builder import EpisodeBuilder
from millrace.engine.sources.hdf5.hdf5_episodes import Hdf5Episode, list_groups, read_episode
from millrace.engine.sources.hdf5.hdf5_features import camera_feature, list_unused, read_vectors_and_extras
from millrace.engine.sources.hdf5.hdf5_file import find_object, open_hdf5
from millrace.engine.sources.hdf5.hdf5_folders import list_linked_folders, list_recordings
from millrace.engine.sources.hdf5.hdf5_splits import read_splits
from millrace.engine.sources.hdf5.layout_choice import choose_layout
from millrace.engine.sources.hdf5.recorded_files import (
    MAX_LISTED,
    RecordedFile,
    common_action_kind,
    common_rate,
    merge_splits,
    note_copies,
    number_by_names,
)
from millrace.engine.sources.natural_order import natural_key
from millrace.engine.sources.read_options import ReadOptions
from millrace.engine.text import join_names, printable


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


class _Opening:
    """The files of a folder, read by one layout."""

    def __init__(self, root: Path, paths: Sequence[Path], files: SourceFiles, options: ReadOptions) -> None:
        self.root, self.paths, self.files, self.options = root, paths, files, options
        self.bounds = files.bounds(root)
        self.name, self.layout = choose_layout(root, paths, self.bounds, options.format)
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
        fps = self._rate(found)
        self._say_action_kinds(found)
        numbers = number_by_names(found, self.layout)
        episodes, bad = self._build_episodes(numbers, recorded)
        return SourceDataset(
            root=self.root,
            layout=f"HDF5, {self.name}",
            fps=fps,
            robot_type=self.layout.robot_type,
            features=self.features,
            tasks=dict(enumerate(dict.fromkeys(text for episode in episodes for text in episode.tasks))),
            episodes=episodes,
            files=self.files,
            bad=bad,
            splits=merge_splits(found, numbers),
            notes=(*self._notes(), *note_copies(found)),
        )

    def _notes(self) -> Iterator[str]:
        if None in self.features[ACTION].kinds:
            yield (
                f"{self.root}: nothing tells whether actions are targets or steps, which must be summed at a lower "
                "rate; a robot file says it by action_kind"
            )
        if self.unused:
            names = join_names(self.unused, MAX_LISTED)
            yield f"{self.root}: left out, as they are neither camera nor column: {names}"

    def _read_file(self, path: Path) -> RecordedFile:
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
                return RecordedFile(path, episodes, splits)
        except EpisodeDataError as error:
            return RecordedFile(path, (Hdf5Episode(path, "", error=error),))

    def _rate(self, found: Sequence[RecordedFile]) -> Fraction:
        if (rate := common_rate(found, self.options.fps)) is not None:
            return rate
        advice = Remedy("say at how many Hz it was recorded: ", Setting("source_fps", "HZ"))
        where = self.paths[0] if len(self.paths) == 1 else self.root
        raise DatasetError(f"{where} does not say its rate, nor does the layout '{self.name}'; ", advice)

    def _say_action_kinds(self, found: Sequence[RecordedFile]) -> None:
        action = self.features[ACTION]
        kinds = self.layout.action_kinds_of(common_action_kind(found), action.num_values)
        self.features[ACTION] = replace(action, kinds=kinds)

    def _build_episodes(
        self, numbers: Sequence[int], recorded: Sequence[Hdf5Episode]
    ) -> tuple[list[SourceEpisode], tuple[BadEpisode, ...]]:
        """The episodes in the order of their numbers, and those that cannot be read."""
        builder = EpisodeBuilder(self.layout, self.features, self.keys, self.bounds)
        episodes, bad = [], []
        for index, episode in sorted(zip(numbers, recorded, strict=True), key=lambda pair: pair[0]):
            try:
                episodes.append(builder.build(index, episode))
            except EpisodeDataError as error:
                bad.append(BadEpisode(index, SourceFault(error.code, error.message, facts=error.facts)))
        return episodes, tuple(bad)
