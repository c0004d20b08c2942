"""millrace.json is JSON with a line for each episode; what is not as Millrace writes it is refused, not guessed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from millrace.engine.dataset.json_files import MAX_LINE, Unreadable
from millrace.engine.dataset.manifest import (
    Lineage,
    manifest_text,
    parse_episode,
    read_manifest_episodes,
    read_manifest_head,
)
from millrace.engine.dataset.record import Cut, FileRecord, Origin

HEAD = {"notes": ["a\u2028b\nc", 'é "q"'], "none": [], "files": [{"path": "README.md", "num_bytes": 3, "sha256": "ab"}]}
LINEAGES = tuple(
    Lineage(
        episode_index=index,
        source="aloha é",
        source_episode=index + 5,
        origin=Origin(source="aloha", digest=None, episode=index),
        copied=("top",),
        files=(FileRecord(path=Path(f"data/{index}"), num_bytes=index, sha256="cd"),),
    )
    for index in range(3)
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "millrace.json").write_text("".join(manifest_text(HEAD, LINEAGES)), encoding="utf-8")
    return tmp_path


def rewrite(root: Path, change: Callable[[str], str]) -> None:
    path = root / "millrace.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def read_lineages(root: Path) -> tuple[Lineage, ...]:
    return tuple(parse_episode(text, Lineage) for text in read_manifest_episodes(root))


def test_a_manifest_is_indented_json_with_a_line_for_each_episode(root: Path) -> None:
    text = (root / "millrace.json").read_text(encoding="utf-8")
    head = json.dumps(HEAD, indent=2, ensure_ascii=False)
    lines = [json.dumps(lineage.model_dump(mode="json", exclude={"cuts"})) for lineage in LINEAGES]
    assert text == head[:-2] + ',\n  "episodes": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"
    assert json.loads(text)["notes"] == HEAD["notes"]


def test_what_was_written_is_read(root: Path) -> None:
    assert read_manifest_head(root).files == (FileRecord(path=Path("README.md"), num_bytes=3, sha256="ab"),)
    assert read_lineages(root) == LINEAGES
    content = (root / "millrace.json").read_bytes()
    assert [content[offset:].lstrip().startswith(text) for _, offset, text in read_manifest_episodes(root)] == [
        True
    ] * 3


def test_no_episodes_are_written_and_read(root: Path) -> None:
    (root / "millrace.json").write_text("".join(manifest_text(HEAD, ())))
    assert json.loads((root / "millrace.json").read_text())["episodes"] == list(read_lineages(root)) == []


def test_a_manifest_of_an_earlier_version_is_read(root: Path) -> None:
    earlier = {"recipe": {}, "files": []}
    line = '{"episode_index": 4, "source": "aloha", "source_episode": 1, "files": []}'
    text = json.dumps(earlier, indent=2).rstrip("}\n") + f',\n  "episodes": [\n    {line}\n  ]\n}}\n'
    (root / "millrace.json").write_text(text)
    assert (read_manifest_head(root).at_rest, read_manifest_head(root).frames) == ({}, ())
    assert [(lineage.episode_index, lineage.origin) for lineage in read_lineages(root)] == [(4, None)]


def test_a_manifest_that_another_program_wrote_again_is_read_whole(root: Path) -> None:
    rewrite(root, lambda text: json.dumps(json.loads(text)))
    assert read_manifest_head(root).episodes == LINEAGES
    assert read_lineages(root) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: text.index("\n  ]\n}")] + "\n", "is cut short"),
        (lambda text: text.replace('"episode_index": 1', '"episode_index": x'), "line 16: is not JSON"),
        (lambda text: text.replace('"cd"', "3", 1), "line 15: files.0.sha256: Input should be a valid string"),
        (lambda text: text[:-8] + " " * MAX_LINE, "line 17 is too long to be metadata"),
    ],
)
def test_a_damaged_manifest_is_refused(root: Path, change: Callable[[str], str], message: str) -> None:
    rewrite(root, change)
    with pytest.raises(Unreadable, match=message):
        read_lineages(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n", "is not JSON"),
        ('{"at_rest": {}}', "files: Field required"),
        ('{"files": [NaN]}', "holds NaN"),
        ((" " * 65535 + "\n") * (MAX_LINE // 65536 + 2), "not laid out as Millrace writes it"),
    ],
)
def test_a_damaged_head_is_refused(root: Path, content: str, message: str) -> None:
    (root / "millrace.json").write_text(content)
    with pytest.raises(Unreadable, match=message):
        read_manifest_head(root)


def test_a_missing_manifest_and_one_outside_are_refused(tmp_path: Path, root: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(Unreadable, match=r"millrace\.json: is missing"):
        read_manifest_head(tmp_path / "other")
    (tmp_path / "other/millrace.json").symlink_to(root / "millrace.json")
    with pytest.raises(Unreadable, match="leads out of the dataset"):
        read_manifest_head(tmp_path / "other")


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (4, 3), (0, 10**30)])
def test_a_cut_that_holds_no_frames_of_an_episode_is_refused(root: Path, start: int, stop: int) -> None:
    with pytest.raises(ValidationError):
        Cut(start=start, stop=stop, why="pause")
    cuts = json.dumps([{"start": start, "stop": stop, "why": "pause"}])
    rewrite(root, lambda text: text.replace('"copied"', f'"cuts": {cuts}, "copied"'))
    with pytest.raises(Unreadable):
        read_lineages(root)
