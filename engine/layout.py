"""Names and paths in a GR00T dataset, which is a LeRobot v2.1 dataset with extra metadata."""

from dataclasses import dataclass
from pathlib import Path

# Raised with whatever changes the bytes of episodes that equal sources and recipes give; the rest is written last.
# A new setting's default leaves them as they were, so that a folder that was begun without it can be continued.
OUTPUT_VERSION = 3
CODEBASE_VERSION = "v2.1"
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"

STATE = "observation.state"
ACTION = "action"
CAMERA_PREFIX = "observation.images."

META = "meta"
INFO = f"{META}/info.json"  # GR00T and LeRobot read it first
CAMERA_LEVELS = f"{META}/camera_levels.parquet"  # see engine/dataset/camera_levels.py
EPISODES_FOLDER = f"{META}/episodes"  # of LeRobot v3.0
WORK = ".millrace"  # timings, the ledger and unfinished files; not part of the dataset
LEDGER = f"{WORK}/ledger.jsonl"
LOCK = f"{WORK}/lock"
LEDGER_COPY = f"{WORK}/ledger-{{number:06d}}.jsonl"  # in an object store, each with some of its lines
PACKED = f"{WORK}/packed"  # its episodes were packed into LeRobot v3.0, and their own files deleted
MANIFEST = "millrace.json"
QUARANTINE = "quarantine.jsonl"  # of a dataset that is not finished
MODALITY_CONFIG = "modality_config.py"
CARD = "README.md"
PREVIEW = "preview.jpg"  # frames that the card shows
REPORT = "report.html"  # made of the finished dataset; not listed in the manifest
# What only a run that goes on needs of a checkpoint, most of its bytes: transformers' files and DeepSpeed's.
TRAINING_STATE = ("optimizer.*", "scheduler.pt", "scaler.pt", "rng_state*", "global_step*", "latest", "zero_to_fp32.py")


def camera_key(camera: str) -> str:
    """The feature, and so the folder, of a camera."""
    return CAMERA_PREFIX + camera


@dataclass(frozen=True)
class EpisodePaths:
    """Paths of one output episode, relative to the dataset."""

    index: int
    chunks_size: int

    @property
    def data(self) -> Path:
        """The episode's parquet file."""
        return Path(DATA_PATH.format(episode_chunk=self.index // self.chunks_size, episode_index=self.index))

    def video(self, camera: str) -> Path:
        """The episode's mp4 of one camera."""
        chunk = self.index // self.chunks_size
        return Path(VIDEO_PATH.format(episode_chunk=chunk, video_key=camera_key(camera), episode_index=self.index))
