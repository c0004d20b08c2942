"""How many of a plan's clips would be copied without encoding."""

from millrace.embodiments import MillraceError
from millrace.engine.planning.plan import ConversionPlan, EpisodePlan, Job
from millrace.engine.sources import Clip
from millrace.engine.video.copy import choose_copy


def count_copies(plan: ConversionPlan) -> int | None:
    """Estimate from one episode of each source; None if that would have to be downloaded."""
    by_source: dict[int, list[EpisodePlan]] = {}
    for episode in plan.episodes:
        by_source.setdefault(episode.binding, []).append(episode)
    samples = {number: episodes[len(episodes) // 2] for number, episodes in by_source.items()}
    if any(sample.episode.repository is not None for sample in samples.values()):
        return None
    return sum(len(by_source[number]) * _count(sample, plan.job) for number, sample in samples.items())


def _count(sample: EpisodePlan, job: Job) -> int:
    """How many clips of one episode are copied."""
    cameras = job.bindings[sample.binding].cameras
    clips = {camera: sample.episode.clips.get(cameras[camera]) for camera in job.cameras if camera in cameras}
    whole = {camera: clip.video for camera, clip in clips.items() if clip and clip.num_frames == sample.num_frames}
    return sum(_is_as_wanted(video, job.for_camera(camera)) for camera, video in whole.items() if video is not None)


def _is_as_wanted(clip: Clip, job: Job) -> bool:
    try:
        return choose_copy(clip, job.video) is not None
    except MillraceError:  # conversion will tell what is wrong with it
        return False
