"""Episodes whose rows and clips differ by a few frames at the end are cut to the shortest, where the user says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import convert_here, data_path, read_meta, read_table, video_path
from millrace.engine.errors import EpisodesFailed
from millrace.engine.layout import MANIFEST
from support.barcode import Stamp
from support.synthetic import edit_column, edit_jsonl, read_stamps, rewrite_parquet, write_dataset, write_video

LENGTHS = (12, 9)
META = "meta/episodes/chunk-000/file-000.parquet"


def film(source: Path, num_frames: int) -> None:
    write_video(video_path(source, 1), num_frames=num_frames, fps=50, episode=1)


def say(source: Path, length: int) -> None:
    edit_jsonl(source / "meta/episodes.jsonl", lambda rows: rows[1].update(length=length))


def cut_rows(source: Path) -> None:
    rewrite_parquet(data_path(source, 1), lambda rows: rows.slice(0, 8))


def cut_rows_and_say(source: Path) -> None:
    cut_rows(source)
    say(source, 8)


MISFITS: dict[str, tuple[Callable[[Path], object], int]] = {
    "video one short": (lambda source: film(source, 8), 8),
    "video one long": (lambda source: film(source, 10), 9),
    "video two long": (lambda source: film(source, 11), 9),
    "a row missing": (cut_rows, 8),
    "a terminal row": (lambda source: say(source, 8), 8),
    "metadata one long": (lambda source: say(source, 10), 9),
    "rows and metadata one short": (cut_rows_and_say, 8),
}


@pytest.mark.parametrize("name", MISFITS)
def test_episode_is_cut_to_the_shortest_and_that_is_said(tmp_path: Path, name: str) -> None:
    source, (spoil, kept) = tmp_path / "source", MISFITS[name]
    write_dataset(source, lengths=LENGTHS)
    spoil(source)
    settings = {"robot": "aloha", "horizon": 4, "fps": "source"}
    with pytest.raises(EpisodesFailed, match=r"trim_mismatch=[12] drops what is too much at the end"):
        convert_here(source, tmp_path / "strict", **settings)
    summary = convert_here(source, tmp_path / "out", trim_mismatch=2, **settings)
    assert read_stamps(video_path(tmp_path / "out", 1)) == [Stamp(frame, 1) for frame in range(kept)]
    assert len(read_table(tmp_path / "out", 1)) == kept
    assert [line["length"] for line in read_meta(tmp_path / "out", "episodes.jsonl")] == [12, kept]
    (warning,) = summary.warnings
    assert (warning.code, warning.num_episodes, warning.first_episode) == ("trimmed", 1, 1)
    assert f"cut to {kept} frames" in warning.message
    assert "trimmed" in (tmp_path / "out" / MANIFEST).read_text()


def test_more_than_was_said_is_not_dropped(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    film(tmp_path / "source", 6)
    with pytest.raises(EpisodesFailed, match=r"episode 1, camera top: 9 rows, but 6 frames"):
        convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", horizon=4, trim_mismatch=2)


def test_place_that_is_a_frame_short_in_a_shared_video(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, version="v3.0", lengths=(12, 9, 8))
    column = "videos/observation.images.top/to_timestamp"
    edit_column(source / META, column, lambda stops: [stops[0], stops[1] - 0.02, stops[2]])
    settings = {"robot": "aloha", "horizon": 4, "fps": "source"}
    with pytest.raises(EpisodesFailed, match=r"episode 1, camera top: .* which is 8\.0 frames"):
        convert_here(source, tmp_path / "strict", **settings)
    convert_here(source, tmp_path / "out", trim_mismatch=1, **settings)
    for episode, kept in enumerate((12, 8, 8)):
        assert read_stamps(video_path(tmp_path / "out", episode)) == [Stamp(frame, episode) for frame in range(kept)]


def test_pictures_in_rows_are_cut_with_them(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, images_as="image")
    say(tmp_path / "source", 8)
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", horizon=4, fps="source", trim_mismatch=1)
    assert read_stamps(video_path(tmp_path / "out", 1)) == [Stamp(frame, 1) for frame in range(8)]


def test_frames_of_a_video_that_does_not_count_them_are_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    film(tmp_path / "source", 10)
    monkeypatch.setattr("millrace.engine.planning.trim._num_frames", lambda clip: None)
    with pytest.raises(EpisodesFailed, match=r"episode 1, camera top: 9 rows, but 10 frames"):
        convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", horizon=4, trim_mismatch=2)
