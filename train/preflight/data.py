"""The datasets of a run: what `validate` says of them, and whether statistics that are kept fit them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.metadata import Metadata
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.reading import read_metadata
from millrace.engine.dataset.releases import Release, VideoBackend
from millrace.engine.dataset.sharding import Sharding, count_trainable_steps
from millrace.engine.execution.capacity import reader_processes
from millrace.engine.layout import MANIFEST, META, MODALITY_CONFIG
from millrace.engine.validate import Progress, validate
from millrace.engine.validate.training import camera_aspect_problems
from millrace.engine.video.thumbnails import info_image_size
from millrace.train.checkpoint_files import STATISTICS, open_checkpoint_files, read_widths
from millrace.train.errors import ConfigError
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.preflight.full_check import REWRITTEN, Fingerprint, FullCheck, pass_check, take_fingerprint
from millrace.train.preflight.machine import Machine
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.preflight.trained_robot import TrainedConfig
from millrace.train.settings import FinetuneSettings

# Judged by the base model's limits, the run's settings and its tag instead; see limit_problems, shards and robot. And
# fingerprints, as the run makes a view where they are not as the installed GR00T wants them.
JUDGED_HERE = frozenset(
    (
        *("model-dims", "model-dims-all", "model-horizon", "shards", "config-tag", "config-syntax", "config-dynamic"),
        *("stats-fingerprints", "relative-fingerprints", "camera-aspects"),
    )
)


@dataclass(frozen=True, eq=False)
class TrainedDataset:
    """A dataset whose episodes can be counted; config: None where unknown; caps_shards: as `Installed` has it."""

    path: Path
    metadata: Metadata
    config: GrootConfig | None
    caps_shards: bool = False

    @property
    def steps(self) -> NDArray[np.int64]:
        """Trainable steps of each episode, shape (num_episodes,)."""
        span = None if self.config is None else self.config.span
        return count_trainable_steps(self.metadata.lengths, span or Release.default_horizon)

    def cut(self, settings: FinetuneSettings) -> Sharding:
        """Its shards in a run."""
        rate = settings.episode_sampling_rate
        return Sharding(self.steps, settings.shard_size, rate, is_capped=self.caps_shards)

    @property
    def num_images(self) -> int:
        """Images of one step, of all cameras."""
        if self.config is None or "video" not in self.config.modalities:
            return len(self.metadata.cameras)
        video = self.config.modalities["video"]
        return len(video.modality_keys) * len(video.delta_indices)

    @property
    def widest_aspect(self) -> float:
        """The longer side of a camera's images by the shorter, the largest of the cameras that say."""
        features = (self.metadata.info.features[camera] for camera in self.metadata.cameras)
        sizes = (info_image_size(feature.shape, feature.names) for feature in features)
        return max((max(size) / min(size) for size in sizes if size is not None), default=1.0)

    @property
    def episode_bytes(self) -> int:
        """All frames of the longest episode, of all cameras, decoded to RGB."""
        features = self.metadata.info.features
        return int(self.metadata.lengths.max()) * sum(features[camera].width for camera in self.metadata.cameras)


def open_dataset(path: Path, config: TrainedConfig, machine: Machine) -> TrainedDataset | None:
    """The dataset's metadata; None where it cannot be read, which judge_data tells."""
    metadata, _ = read_metadata(path, config.config) if path.is_dir() else (None, [])
    caps = machine.installed is not None and machine.installed.caps_shards
    return None if metadata is None else TrainedDataset(path, metadata, config.config, caps)


@dataclass(frozen=True)
class JudgedData:
    """What is wrong with a dataset's files; check: to keep for the next start, None with errors."""

    problems: tuple[Problem, ...]
    check: FullCheck | None


def judge_data(
    path: Path,
    config: TrainedConfig,
    *,
    video_backend: VideoBackend | None,
    is_viewed: bool = False,
    earlier: FullCheck | None,
    on_progress: Progress,
) -> JudgedData:
    """Judge a dataset's files: by an earlier full check where no file has changed since, else by all of them.

    Args:
        path: The dataset.
        config: The run's modality config.
        video_backend: The decoder of GR00T's own loader, where that is asked for.
        is_viewed: Whether the run makes a view of it, with relative statistics for the steps of its config.
        earlier: The full check that a start of this run made last; None to check all.
        on_progress: As millrace.engine.validate's.
    """
    found = fingerprint_data(path, config, video_backend=video_backend, is_viewed=is_viewed, on_progress=on_progress)
    if earlier is not None and earlier.fingerprint == found.digest:
        return JudgedData((*earlier.problems, _unchanged(path, earlier)), earlier)
    problems = tuple(
        problem
        for problem in _file_problems(path, config, video_backend=video_backend, on_progress=on_progress)
        if not (is_viewed and problem.code == "relative-horizon")
    )
    return JudgedData(problems, pass_check(found, problems))


def fingerprint_data(
    path: Path,
    config: TrainedConfig,
    *,
    video_backend: VideoBackend | None,
    is_viewed: bool = False,
    on_progress: Progress,
) -> Fingerprint:
    """The dataset as it is now, and what `judge_data` judges it for."""
    judged_by = f"{config.source} {config.config!r} {video_backend}{' in a view' if is_viewed else ''}"
    return take_fingerprint(path, judged_by, lambda num_done: on_progress("files", num_done, None))


def _unchanged(path: Path, check: FullCheck) -> Problem:
    message = (
        f"rows, videos and statistics were checked in full at {check.when:%Y-%m-%d %H:%M} UTC, and are not read "
        f"again: all {check.num_files:,} files have the same sizes and times, those of {META}/ and {MANIFEST} the same "
        "content. --verify checks all of them"
    )
    return make_run_problem("data-unchanged", message, path)


def _file_problems(
    path: Path, config: TrainedConfig, *, video_backend: VideoBackend | None, on_progress: Progress
) -> Iterator[Problem]:
    """All that `validate` finds, except notes, one problem for each check."""
    by_code: dict[str, list[Problem]] = defaultdict(list)
    report = validate(
        path,
        config=config.config,
        video_backend=video_backend,
        layout="v2.1",
        num_processes=reader_processes(),
        on_progress=on_progress,
    )
    for found in (*report.errors, *report.warnings):
        is_elsewhere = found.code in JUDGED_HERE or (config.config is None and found.code.startswith("config-"))
        is_rewritten = found.code == "digests-text" and str(found.path) in REWRITTEN
        if not is_elsewhere and not is_rewritten:
            by_code[found.code].append(found)
    for first, *others in by_code.values():
        more = f" (and {len(others)} more; `millrace validate {path}`)" if others else ""
        is_of_config = first.path == Path(MODALITY_CONFIG) and not first.code.startswith("digests")
        place = Path(config.source) if is_of_config else path / (first.path or "")
        yield replace(first, path=place, message=first.message + more)


def keeps_aspect(settings: FinetuneSettings, base: BaseCheckpoint | None) -> bool:
    """Whether images keep their aspect in a run, where others become squares."""
    pads = base is not None and base.processor.letter_box_transform
    return settings.shortest_image_edge is not None and not pads


def aspect_problems(settings: FinetuneSettings, dataset: TrainedDataset, base: BaseCheckpoint) -> Iterator[Problem]:
    """Whether the cameras have one aspect, where the run keeps that of images: those of a step are stacked."""
    if not keeps_aspect(settings, base):
        return
    for found in camera_aspect_problems(dataset.metadata):
        message = f"--shortest-image-edge keeps the aspect of images, but the dataset {found.message}"
        yield make_run_problem("camera-aspects", message, dataset.path)


def kept_statistics_problems(
    settings: FinetuneSettings, dataset: TrainedDataset, base: BaseCheckpoint
) -> Iterator[Problem]:
    """Whether the base model's statistics, where the run keeps them, are of the joints that it trains."""
    if settings.override_pretraining_statistics or dataset.config is None:
        return
    try:
        known = read_widths(base.name).get(settings.tag) if open_checkpoint_files(base.name).path(STATISTICS) else None
    except ConfigError as error:
        yield make_run_problem("base-statistics", str(error))
        return
    # GR00T takes the dataset's where the base model has none for the tag.
    lacking = [] if known is None else list(_lacking(known, dataset.config, dataset))
    if lacking:
        tag = settings.embodiment_tag
        message = f"--no-override-pretraining-statistics keeps those of {base.name} for {tag}: {', '.join(lacking)}"
        yield make_run_problem("base-statistics", message)


def _lacking(known: Mapping[str, Mapping[str, int]], config: GrootConfig, dataset: TrainedDataset) -> Iterator[str]:
    """What of the trained joints the statistics have not, or otherwise."""
    modality = dataset.metadata.modality
    for part, groups in ({} if modality is None else modality.groups).items():
        for name in (name for name in config.keys(part) if name in groups):
            found, wanted = known.get(part, {}).get(name), groups[name].width
            if found != wanted:
                yield f"no {part} {name}" if found is None else f"{part} {name} of {found} values, not {wanted}"
    for name in config.relative:
        found = known.get("relative_action", {}).get(name)
        if found != config.horizon:
            of = "" if found is None else f" of {config.horizon} steps, but of {found}"
            yield f"no relative action {name}{of}"
