"""Other ways to the same pictures: the ALOHA guide's, and ffmpeg's.

Each takes one clip of a whole mp4 to square H.264.
"""

import subprocess
from pathlib import Path

import cv2
import imageio.v2 as imageio
import imageio_ffmpeg

from millrace.engine.planning.resample import linspace_indices
from millrace.engine.sources import Clip
from millrace.engine.video.backends import X264
from millrace.engine.video.decode import open_video
from millrace.engine.video.encode import VideoSettings


def convert_as_guide(clip: Clip, out: Path, settings: VideoSettings) -> None:
    """The guide's step 2.4: every frame as RGB, its indices, centre crop, INTER_AREA, re-encode."""
    reader = imageio.get_reader(clip.path)
    frames = [frame for frame in reader]  # noqa: C416 (its length hint is infinite)
    reader.close()
    indices = linspace_indices(len(frames), source_fps=clip.fps, target_fps=settings.fps)
    with imageio.get_writer(out, fps=float(settings.fps), codec=X264) as writer:
        for index in indices:
            frame = frames[index]
            side = min(frame.shape[:2])
            top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
            square = frame[top : top + side, left : left + side]
            writer.append_data(cv2.resize(square, tuple(settings.size), interpolation=cv2.INTER_AREA))


def ffmpeg_command(clip: Clip, out: Path, settings: VideoSettings) -> list[str]:
    """One thread: the best that ffmpeg does with a core."""
    with open_video(clip.path) as (_, stream):
        side = min(stream.width, stream.height)
    width, height = settings.size
    filters = f"fps={settings.fps},crop={side}:{side},scale={width}:{height}:flags=area"
    options = "-threads 1 -preset veryfast -crf 18 -g 10 -bf 0 -tune fastdecode -pix_fmt yuv420p"
    threads = ["-threads", "1", "-filter_threads", "1"]
    quiet = ["-y", "-nostdin", "-loglevel", "error"]
    reading = [imageio_ffmpeg.get_ffmpeg_exe(), *quiet, *threads, "-i", str(clip.path)]
    return [*reading, "-vf", filters, "-c:v", X264, *options.split(), str(out)]


def convert_with_ffmpeg(clip: Clip, out: Path, settings: VideoSettings) -> None:
    """Run `ffmpeg_command`."""
    subprocess.run(ffmpeg_command(clip, out, settings), check=True)
