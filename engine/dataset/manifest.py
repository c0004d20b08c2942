"""millrace.json: what made a dataset, from which sources, and the digest of every file.

Its episodes come last, each on its own line, so that a manifest of any length is written and read in little memory.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.json_files import MAX_LINE, Unreadable, number_lines, parse_model, report_unreadable
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.record import Cut, FileRecord, Origin
from millrace.engine.errors import DatasetError
from millrace.engine.layout import MANIFEST

BEGIN, END = '"episodes": [', "]"

# An episode's line: its number from 1, the offset of its first byte, its JSON.
EpisodeText = tuple[int, int, bytes]
Model = TypeVar("Model", bound=BaseModel)


class RecordedEpisode(FrozenModel):
    """Which recording one episode is; earlier versions did not write the origin."""

    episode_index: int
    origin: Origin | None = None


class Lineage(FrozenModel):
    """Where one episode comes from, and its files; earlier versions wrote fewer fields.

    source_episode: its number in that source. cuts: source frames that it lacks; only written where there are some.
    copied: cameras whose clips were not encoded again.
    """

    episode_index: int
    source: str | None = None
    revision: str | None = None
    source_episode: int | None = None
    origin: Origin | None = None
    cuts: tuple[Cut, ...] = ()
    copied: tuple[str, ...] = ()
    files: tuple[FileRecord, ...]

    @property
    def line(self) -> dict[str, Any]:
        """Its line in the manifest."""
        return self.model_dump(mode="json", exclude=None if self.cuts else {"cuts"})


class ManifestHead(FrozenModel):
    """What readers need of the manifest before its episodes.

    at_rest: joints by modality that no source drives. frames: see `engine/video/framing.py`. control: see
    `engine/video/robot_control.py`. episodes: of a file that another program wrote, without a line for each.
    """

    files: tuple[FileRecord, ...]
    at_rest: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    frames: Any = ()
    control: Any = None
    episodes: tuple[Lineage, ...] = ()


def manifest_text(head: Mapping[str, object], episodes: Iterable[Lineage]) -> Iterator[str]:
    """The text of a manifest, piece by piece; head: all but the episodes."""
    return manifest_of_lines(head, (json.dumps(episode.line) for episode in episodes))


def manifest_of_lines(head: Mapping[str, object], lines: Iterable[str]) -> Iterator[str]:
    """The same of lines that were made before."""
    yield "{\n"
    for name, value in head.items():
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).replace("\n", "\n  ")
        yield f'  "{name}": {text},\n'
    yield f"  {BEGIN}\n"
    for number, line in enumerate(lines):
        yield (",\n" if number else "") + "    " + line
    yield f"\n  {END}\n}}\n"


def read_manifest_head(root: Path) -> ManifestHead:
    """A dataset's manifest without the lines of its episodes.

    Raises:
        Unreadable: there is none, or it is none.
    """
    with report_unreadable(root, MANIFEST):
        return parse_model(read_head_text(root), ManifestHead, MANIFEST)


def read_head_text(root: Path) -> str:
    """The JSON of a dataset's manifest with an empty list of episodes.

    Raises:
        OSError: there is none.
        Unreadable: it is not laid out as Millrace writes it.
    """
    head: list[bytes] = []
    with (root / MANIFEST).open("rb") as file:
        for _, offset, line in number_lines(file, MANIFEST):
            if offset > MAX_LINE:
                raise Unreadable(Problem.of("meta-parse", MANIFEST, "is not laid out as Millrace writes it"))
            head.append(line)
            if line.strip() == BEGIN.encode():
                head.append(b"]}")
                break
    return b"".join(head).decode()


def read_manifest_episodes(root: Path) -> Iterator[EpisodeText]:
    """The JSON of each episode, one in memory at a time; none where another program wrote the file.

    Raises:
        Unreadable: there is no such file, it is cut short, or has a line that is too long.
    """
    is_inside = False
    with report_unreadable(root, MANIFEST), (root / MANIFEST).open("rb") as file:
        for number, offset, line in number_lines(file, MANIFEST):
            text = line.strip()
            if is_inside and text == END.encode():
                return
            if is_inside and text:
                yield number, offset, text.removesuffix(b",")
            is_inside = is_inside or text == BEGIN.encode()
    if is_inside:
        raise Unreadable(Problem.of("meta-parse", MANIFEST, "is cut short"))


def parse_episode(episode: EpisodeText, model: type[Model]) -> Model:
    """An episode's line.

    Raises:
        Unreadable: it is not what the model demands.
    """
    number, _, text = episode
    return parse_model(text.decode("utf-8", "replace"), model, MANIFEST, line=number)


def read_lineages(root: Path) -> Iterator[Lineage]:
    """Where each episode comes from, one in memory at a time.

    Raises:
        DatasetError: the manifest cannot be read.
    """
    try:
        for text in read_manifest_episodes(root):
            yield parse_episode(text, Lineage)
    except Unreadable as error:
        raise DatasetError(str(error), dataset=str(root), file=root / MANIFEST) from error
