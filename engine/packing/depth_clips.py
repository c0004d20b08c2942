"""Depth of a finished dataset's episodes: kept frames of the sources' clips, without loss, for LeRobot v3.0 alone."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from millrace.embodiments import Message, MillraceError, Remedy, Setting
from millrace.engine.dataset.camera_levels import sampled_frames
from millrace.engine.dataset.processes import map_in_processes
from millrace.engine.dataset.record import Cut, FileRecord
from millrace.engine.dataset.writing import finish_file
from millrace.engine.errors import DatasetError, FaultCode, VideoError
from millrace.engine.layout import WORK, camera_key
from millrace.engine.output.ledger import Ledger
from millrace.engine.packing.summaries import LevelCounts
from millrace.engine.planning import ConversionPlan, EpisodePlan
from millrace.engine.planning.depth_camera import DepthCamera
from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.planning.resample import Resampler
from millrace.engine.sources import Clip, FileState
from millrace.engine.sources.depth_scale import PIX_FMT
from millrace.engine.sources.file_state import is_missing
from millrace.engine.video.depth import count_codes, write_depth

FOLDER = f"{WORK}/depth"


@dataclass(frozen=True)
class DepthJob:
    """What all clips share. source_fps: of each source."""

    fps: Fraction
    source_fps: tuple[Fraction, ...]
    resample: Resampler
    gop: int


@dataclass(frozen=True)
class DepthOrigin:
    """Where a depth clip of the output comes from.

    index: of the episode. address: of the dataset, for errors. cuts: source frames that the episode lacks.
    """

    index: int
    camera: str
    episode: EpisodePlan
    address: str
    cuts: tuple[Cut, ...] = ()


class DepthClips:
    """The depth cameras of a finished dataset, and the episodes of the plan that it holds, by its numbers."""

    def __init__(self, folder: Path, plan: ConversionPlan) -> None:
        """folder: of the dataset in v2.1. plan: what was to be made of which episodes; others may have been skipped."""
        self.cameras, self.addresses = plan.depth, [str(spec.path) for spec in plan.recipe.sources]
        fps, bindings = plan.job.video.fps, plan.job.bindings
        self.job = DepthJob(fps, tuple(one.fps for one in bindings), plan.job.resample, plan.job.video.gop)
        self.roots = [one.root for one in bindings]
        planned = {episode.key: episode for episode in plan.episodes}
        with Ledger(folder, plan, is_read_only=True) as ledger:
            self.episodes = [planned[entry.key] for entry in ledger.entries()]
            self.cuts = [record.cuts for record in ledger.records()]

    @property
    def digest(self) -> str:
        """A digest of all that decides what the clips show."""
        digest = hashlib.sha256(repr((self.cameras, self.job)).encode())
        for camera in self.cameras:
            for episode, cuts in zip(self.episodes, self.cuts, strict=True):
                clip = episode.episode.depth.get(camera.name)
                state = None if clip is None else _state(clip, episode)
                place = None if clip is None else self._in_its_dataset(clip, episode)
                shown = (episode.index, episode.num_frames, place, state, *map(repr, cuts))
                digest.update(repr(shown).encode())
        return digest.hexdigest()

    def _in_its_dataset(self, clip: Clip, episode: EpisodePlan) -> Clip:
        """The clip by its path within the dataset, by whatever name or cache folder this is found."""
        return replace(clip, path=Path(str(clip.path).removeprefix(f"{self.roots[episode.binding]}/")))

    def check(self) -> None:
        """Check that each episode has its clips, before anything is deleted or written.

        Raises:
            DatasetError: one is missing, or its place is wrong.
        """
        for camera in self.cameras:
            for origin in self.origins(camera):
                with _named_in_errors(origin):
                    _find_clip(origin)

    def origins(self, camera: DepthCamera) -> Iterator[DepthOrigin]:
        """Where each episode's clip of a camera comes from, in order."""
        for number, episode in enumerate(self.episodes):
            yield DepthOrigin(number, camera.name, episode, self.addresses[episode.binding], self.cuts[number])

    def write(self, camera: DepthCamera, out: Path, scratch: Path, *, num_processes: int) -> Iterator[FileRecord]:
        """Write each episode's clip unless it is there; yields their records, in order.

        Raises:
            DatasetError: a clip is missing or corrupt, or is no 12-bit grey.
        """
        write = partial(_write, self.job, camera, out, scratch)
        return map_in_processes(write, self.origins(camera), num_processes=num_processes)

    def count(
        self, camera: DepthCamera, out: Path, lengths: Iterable[int], *, num_processes: int
    ) -> Iterator[LevelCounts]:
        """Codes of a few frames of each episode, in order; lengths: of the episodes."""
        clips = (
            Clip(depth_path(out, number, camera.name), length, self.job.fps) for number, length in enumerate(lengths)
        )
        return map_in_processes(partial(_count, camera), clips, num_processes=num_processes)

    def features(self) -> dict[str, Any]:
        """What info.json says of the cameras, in LeRobot 0.6's words."""
        return {camera_key(camera.name): self._feature(camera) for camera in self.cameras}

    def _feature(self, camera: DepthCamera) -> dict[str, Any]:
        fps, scale = self.job.fps, camera.scale
        stored = {"height": camera.height, "width": camera.width, "codec": "hevc", "pix_fmt": PIX_FMT, "channels": 1}
        stored |= {"fps": fps.numerator if fps.denominator == 1 else float(fps)}
        stored |= {name: getattr(scale, name) for name in ("depth_min", "depth_max", "shift", "use_log")}
        facts = {f"video.{name}": value for name, value in stored.items()}
        facts |= {"is_depth_map": True, "has_audio": False, "depth_unit": scale.depth_unit}
        names = ["height", "width", "channels"]
        return {"dtype": "video", "shape": [camera.height, camera.width, 1], "names": names, "info": facts}


def claim_depth(out: Path, digest: str) -> None:
    """Delete clips of an earlier run that were made of others; digest: of this run's."""
    mark = out / FOLDER / "digest"
    if not mark.is_file() or mark.read_text() != digest:
        remove_depth(out)
        mark.parent.mkdir(parents=True)
        mark.write_text(digest)


def remove_depth(out: Path) -> None:
    """Delete the clips, once they are joined."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def depth_path(out: Path, number: int, camera: str) -> Path:
    """Where an episode's clip lies until it is joined."""
    return out / FOLDER / camera / f"chunk-{number // 1000:03d}" / f"episode_{number:06d}.mp4"


def _state(clip: Clip, episode: EpisodePlan) -> object:
    repository = episode.episode.repository
    return FileState.read(clip.path) if repository is None else repository.content_state(clip.path)


def _write(job: DepthJob, camera: DepthCamera, out: Path, scratch: Path, origin: DepthOrigin) -> FileRecord:
    final = depth_path(out, origin.index, camera.name)
    relative = final.relative_to(out)
    if final.is_file():
        return FileRecord.of(final, relative)
    unfinished = scratch / f"{uuid4().hex}.mp4"
    with _named_in_errors(origin):
        _write_clip(job, origin, unfinished)
    return finish_file(unfinished, out, relative)


@contextmanager
def _named_in_errors(origin: DepthOrigin) -> Iterator[None]:
    """Name the episode and the camera in errors, and how to do without the camera."""
    try:
        yield
    except MillraceError as error:
        where = f"{origin.address}: episode {origin.episode.episode.index}, depth camera {origin.camera!r}: "
        advice = Remedy("; to do without it, pass ", Setting("without_cameras", [origin.camera]))
        raise DatasetError(where, Message(error), advice).about(error.facts) from error


def _write_clip(job: DepthJob, origin: DepthOrigin, path: Path) -> None:
    episode, clip = origin.episode.episode, _find_clip(origin)
    source_fps = job.source_fps[origin.episode.binding]
    choice = choose_frames(
        episode.num_frames, origin.cuts, source_fps=source_fps, target_fps=job.fps, resampler=job.resample
    )
    with episode.holding_files():
        if episode.repository is not None:
            episode.repository.fetch(clip.paths)
        clip = clip.trim(episode.num_frames, max_spare=episode.max_spare)
        write_depth(clip, choice.frames, path, job.fps, gop=job.gop)


def _find_clip(origin: DepthOrigin) -> Clip:
    """The source's clip, which metadata does not contradict.

    Raises:
        VideoError: it is contradicted, or there is none.
    """
    episode = origin.episode.episode
    for fault in episode.faults:
        if fault.camera == origin.camera:
            raise VideoError(fault.reason, code=fault.code).about(fault.facts)
    clip = episode.depth.get(origin.camera)
    if clip is None:
        raise VideoError("it has no video", code=FaultCode.MISSING)
    if episode.repository is None and is_missing(clip.path):
        raise VideoError(f"no video at {clip.path}", code=FaultCode.MISSING, file=clip.path)
    return clip


def _count(camera: DepthCamera, clip: Clip) -> LevelCounts:
    indices = np.array(sampled_frames(clip.num_frames))
    return LevelCounts(count_codes(clip, indices)[None], len(indices), camera.scale.levels)
