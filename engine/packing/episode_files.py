"""Sizes and digests of a dataset's files by episode, 40 bytes for each, as its manifest lists them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.manifest import read_lineages
from millrace.engine.dataset.metadata import Metadata
from millrace.engine.dataset.record import FileRecord
from millrace.engine.errors import DatasetError
from millrace.engine.layout import MANIFEST

DIGEST_BYTES = 32


class FileTable:
    """One kind of file of all episodes: their rows, or a camera's clips.

    num_bytes: (N,). digests: (N, 32) uint8.
    """

    def __init__(self, num_episodes: int) -> None:
        self.num_bytes: NDArray[np.int64] = np.zeros(num_episodes, dtype=np.int64)
        self.digests: NDArray[np.uint8] = np.zeros((num_episodes, DIGEST_BYTES), dtype=np.uint8)

    def set(self, number: int, file: FileRecord) -> None:
        """Keep what is known of an episode's file."""
        self.num_bytes[number] = file.num_bytes
        self.digests[number] = np.frombuffer(bytes.fromhex(file.sha256), np.uint8)

    def hex_digests(self, episodes: range) -> str:
        """The digests of some episodes' files, one after the other."""
        return self.digests[episodes.start : episodes.stop].tobytes().hex()


def read_episode_files(metadata: Metadata) -> tuple[FileTable, dict[str, FileTable]]:
    """The files of rows, and the clips of each camera.

    Raises:
        DatasetError: the manifest cannot be read, or does not list them all.
    """
    rows = FileTable(metadata.num_episodes)
    clips = {camera: FileTable(metadata.num_episodes) for camera in metadata.cameras}
    number = -1
    for number, lineage in enumerate(read_lineages(metadata.root)):
        listed = {file.path: file for file in lineage.files}
        due = [(metadata.data_path(number), rows)]
        due += [(metadata.video_path(number, camera), files) for camera, files in clips.items()]
        for path, files in due:
            if path not in listed or number >= metadata.num_episodes:
                raise _not_listed(metadata.root, number, path)
            files.set(number, listed[path])
    if number + 1 < metadata.num_episodes:
        raise _not_listed(metadata.root, number + 1, metadata.data_path(number + 1))
    return rows, clips


def _not_listed(root: Path, episode: int, path: Path) -> DatasetError:
    message = f"{root / MANIFEST} and meta/ do not tell of the same files: episode {episode}, {path}"
    return DatasetError(message, dataset=str(root), file=root / MANIFEST, episode=episode)
