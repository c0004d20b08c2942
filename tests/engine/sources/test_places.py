"""Clips that share a file lie where their episode says, or the episode says what contradicts it."""

import os
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import LOCAL, convert_here, recipe_for, video_path
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import EpisodesFailed, FaultCode
from millrace.engine.planning.numbering import _facts_of
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import Clip, ImageColumn, RowRange, SourceDataset, SourceEpisode, open_source
from millrace.engine.sources.episode import SourceFault
from millrace.engine.sources.places import check_places, place_notes
from millrace.engine.sources.row_reader import RowReader
from support.barcode import Stamp
from support.synthetic import edit_column, edit_json, read_stamps, write_dataset, write_video
from support.synthetic_check import assert_converted

LENGTHS = (12, 9, 11, 8, 10)
META = "meta/episodes/chunk-000/file-000.parquet"
ROOT = Path("/data/set")
FPS = Fraction(20)

Place = tuple[int, float, float | None]  # file, start and stop in seconds


def dataset_of(places: list[Place], lengths: list[int]) -> SourceDataset:
    """Episodes of one camera at these places."""
    episodes = [
        SourceEpisode(index, length, (), {"top": Clip(ROOT / f"{file}.mp4", length, FPS, start, stop, root=ROOT)}, ())
        for index, ((file, start, stop), length) in enumerate(zip(places, lengths, strict=True))
    ]
    return SourceDataset(ROOT, "LeRobot v3.0", FPS, None, {}, {}, episodes)


def faulty(dataset: SourceDataset) -> dict[int, str]:
    """The reason by episode."""
    return {episode.index: fault.reason for episode in dataset.episodes for fault in episode.faults}


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=8), data=st.data())
def test_clips_side_by_side_or_apart_are_right(lengths: list[int], data: st.DataObject) -> None:
    """Also with gaps of deleted episodes, several files, drift below half a frame, and lines in any order."""
    places: list[Place] = []
    start, file = 0.0, 0
    for length in lengths:
        file, start = data.draw(st.sampled_from([(file, start), (file + 1, 0.0), (file, start + 0.7)]))
        drift = data.draw(st.floats(-0.2, 0.2)) / float(FPS)
        stop = data.draw(st.sampled_from([None, start + length / float(FPS) - drift]))
        places.append((file, max(start + drift, 0.0), stop))
        start += length / float(FPS)
    order = data.draw(st.permutations(range(len(lengths))))
    found = check_places(dataset_of([places[k] for k in order], [lengths[k] for k in order]))
    assert not faulty(found)


@given(lengths=st.lists(st.integers(4, 50), min_size=2, max_size=8), data=st.data())
def test_of_two_clips_that_overlap_both_are_faulty(lengths: list[int], data: st.DataObject) -> None:
    starts = [sum(lengths[:k]) / float(FPS) for k in range(len(lengths))]
    moved = data.draw(st.integers(0, len(lengths) - 1))
    onto = data.draw(st.integers(0, len(lengths) - 1).filter(lambda k: k != moved))
    places: list[Place] = [(0, start, None) for start in starts]
    places[moved] = (0, starts[onto] + 0.25 / float(FPS), None)
    reasons = faulty(check_places(dataset_of(places, lengths)))
    assert {moved, onto} <= set(reasons)
    assert "they claim the same frames" in reasons[moved]


def test_an_overlap_that_its_own_end_explains_blames_one_episode() -> None:
    places: list[Place] = [(0, 0.0, 1.0), (0, 1.15, 2.0), (0, 2.0, 3.0), (0, 3.0, 4.0)]
    reasons = faulty(check_places(dataset_of(places, [20] * 4)))
    assert list(reasons) == [1]
    assert "from 1.150 to 2.000 s of /data/set/0.mp4, which is 17.0 frames at 20 Hz, but it has 20 rows" in reasons[1]


def test_a_long_clip_over_several_short_ones_blames_them_all() -> None:
    places: list[Place] = [(0, 0.0, None), (0, 0.5, None), (0, 1.0, None), (0, 4.0, None)]
    assert list(faulty(check_places(dataset_of(places, [60, 5, 5, 5])))) == [0, 1, 2]


def test_gaps_are_noted() -> None:
    dataset = dataset_of([(0, 0.0, 1.0), (0, 2.5, 3.5), (1, 0.0, 1.0)], [20, 20, 20])
    assert list(place_notes(dataset)) == [
        "/data/set, camera 'top': 1 of 2 video files have frames that belong to no episode, such as 1.50 s before "
        "episode 1; fine where episodes were deleted"
    ]
    assert not list(place_notes(dataset_of([(0, 0.0, 1.0), (0, 1.0, 2.0), (1, 0.0, 1.0)], [20, 20, 20])))


def test_a_faulty_merge_fails_and_the_other_camera_converts(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", version="v3.0", lengths=LENGTHS, cameras=("top", "wrist"))
    for column, value in (("from_timestamp", 0.0), ("to_timestamp", None)):
        edit_column(
            tmp_path / "source" / META,
            f"videos/observation.images.wrist/{column}",
            lambda values, value=value: [value] * len(values),  # type: ignore[misc]
        )
    settings: dict[str, Any] = {"robot": "aloha", "horizon": 4}
    with pytest.raises(EpisodesFailed) as failed:
        convert_here(tmp_path / "source", tmp_path / "out", **settings)
    assert {(one.code, one.camera) for one in failed.value.quarantined} == {(FaultCode.PLACE, "wrist")}
    assert len(failed.value.quarantined) == len(LENGTHS)
    recipe = Recipe.model_validate({"sources": [{"path": tmp_path / "source"}], "cameras": ("top",), **settings})
    convert(recipe.model_copy(update={"image_size": 64, "crop": "center"}), tmp_path / "top", workers=LOCAL)
    assert_converted(tmp_path / "top", LENGTHS)


@pytest.mark.parametrize("has_stop", [True, False])
def test_a_rate_that_info_json_has_wrong_is_advised_and_reaches_the_clips(tmp_path: Path, has_stop: bool) -> None:
    source = tmp_path / "source"
    write_dataset(source, version="v3.0", lengths=LENGTHS, fps=20)
    edit_json(source / "meta/info.json", lambda info: {**info, "fps": 50})
    if not has_stop:
        edit_column(source / META, "videos/observation.images.top/to_timestamp", lambda values: [None] * len(values))
    settings: dict[str, Any] = {"robot": "aloha", "horizon": 4, "fps": "source"}
    with pytest.raises(EpisodesFailed, match="source_fps=20"):
        convert_here(source, tmp_path / "out", **settings)
    convert_here(source, tmp_path / "right", source_fps=20, **settings)
    for episode, length in enumerate(LENGTHS):
        stamps = read_stamps(video_path(tmp_path / "right", episode))
        assert stamps == [Stamp(frame, episode) for frame in range(length)]


def test_depth_is_checked_and_timed_as_other_cameras_are() -> None:
    dataset = dataset_of([(0, 0.0, 2.0), (0, 2.0, 4.0), (0, 2.0, 4.0)], [20, 20, 20])
    as_depth = [replace(one, clips={}, depth=dict(one.clips)) for one in dataset.episodes]
    found = check_places(replace(dataset, episodes=as_depth), Fraction(10))
    assert {episode.depth["top"].fps for episode in found.episodes} == {10}
    assert set(faulty(found)) == {1, 2}


def test_videos_written_at_another_rate_than_the_user_says_stay_where_they_are() -> None:
    dataset = dataset_of([(0, 0.0, 1.0), (0, 1.0, 2.0)], [20, 20])
    found = check_places(dataset, Fraction(10))
    assert not faulty(found)
    assert [clip.fps for episode in found.episodes for clip in episode.clips.values() if isinstance(clip, Clip)] == [
        FPS,
        FPS,
    ]


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, Path):
        return value.with_name("other")
    if value is None:
        return 3
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, *value) or ("x",)
    if isinstance(value, dict):
        return {**value, "x": 1}
    return value + 1


ROWS = RowRange(ROOT / "data/0.parquet", 0, 20)
CLIP = Clip(ROOT / "0.mp4", 20, FPS, 0.0, 1.0)
IMAGES = ImageColumn((ROWS,), "front", 20)
EPISODE = SourceEpisode(
    0,
    20,
    (ROWS,),
    {"top": CLIP, "front": IMAGES},
    ("fold",),
    ROOT / "data",
    faults=(SourceFault(FaultCode.PLACE, "wrong", "top"),),
)


# Whose rows lie in a file of their own, so that nothing but their place says whose they are.
ALONE = replace(EPISODE, search=None)


def variants() -> dict[str, SourceEpisode]:
    """The episode with one field changed, by the field's name."""
    found: dict[str, SourceEpisode] = {}
    for part in fields(RowRange):
        if part.compare:
            rows = replace(ROWS, **{part.name: changed(getattr(ROWS, part.name))})
            found[f"RowRange.{part.name}"] = replace(ALONE, rows=(rows,))
    for camera, clip in EPISODE.clips.items():
        for part in fields(clip):
            if part.compare:
                other: Any = replace(clip, **{part.name: changed(getattr(clip, part.name))})
                found[f"{type(clip).__name__}.{part.name}"] = replace(EPISODE, clips={**EPISODE.clips, camera: other})
    for name in ("index", "num_frames", "rows", "tasks", "search", "faults", "max_spare", "trimmed", "lengths"):
        found[f"SourceEpisode.{name}"] = replace(EPISODE, **{name: changed(getattr(EPISODE, name))})
    found["SourceEpisode.clips"] = replace(EPISODE, clips={"top": CLIP})
    return found


@pytest.mark.parametrize("name", variants())
def test_whatever_decides_what_is_read_is_in_the_digest(name: str) -> None:
    usual = ALONE if name.startswith("RowRange") else EPISODE
    assert repr(_facts_of(variants()[name], ROOT)) != repr(_facts_of(usual, ROOT))


def test_where_rows_are_expected_that_are_looked_for_makes_no_difference() -> None:
    rows = replace(ROWS, start=1, stop=21)
    other = replace(EPISODE, rows=(rows,), clips={"top": CLIP, "front": replace(IMAGES, rows=(rows,))})
    assert repr(_facts_of(other, ROOT)) == repr(_facts_of(EPISODE, ROOT))


def test_every_field_of_an_episode_is_looked_at() -> None:
    known = {name.split(".")[1] for name in variants() if name.startswith("SourceEpisode")}
    # A repository stands for files, whose state the digest has; packing has a digest of depth.
    assert known == {part.name for part in fields(SourceEpisode)} - {"repository", "depth"}


def test_videos_that_nothing_is_made_of_change_no_digest(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(3, 3), cameras=("top", "wrist"))
    recipe = recipe_for(tmp_path, horizon=1)  # of "top" alone
    before = [episode.digest for episode in plan_conversion(recipe).episodes]
    video_path(tmp_path, 0, "wrist").unlink()
    assert [episode.digest for episode in plan_conversion(recipe).episodes] == before
    os.utime(video_path(tmp_path, 1), (1, 1))
    after = [episode.digest for episode in plan_conversion(recipe).episodes]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]


def test_the_place_of_a_dataset_on_the_disk_is_not_in_the_digest() -> None:
    def moved(value: Any) -> Any:
        return replace(value, path=Path("/elsewhere") / value.path.relative_to(ROOT))

    rows = moved(ROWS)
    images = replace(IMAGES, rows=(rows,))
    other = replace(EPISODE, rows=(rows,), clips={"top": moved(CLIP), "front": images}, search=Path("/elsewhere/data"))
    assert repr(_facts_of(other, Path("/elsewhere"))) == repr(_facts_of(EPISODE, ROOT))


def test_metadata_that_is_fixed_converts_its_episodes_again(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", version="v3.0", lengths=(41, 41))
    before = [episode.digest for episode in plan_conversion(recipe_for(tmp_path / "source")).episodes]
    for column in ("from_timestamp", "to_timestamp"):
        edit_column(tmp_path / "source" / META, f"videos/observation.images.top/{column}", lambda values: values[::-1])
    after = [episode.digest for episode in plan_conversion(recipe_for(tmp_path / "source")).episodes]
    assert not set(before) & set(after)
    assert not faulty(open_source(tmp_path / "source"))


def test_a_video_that_plays_at_another_rate_than_its_rows_fails(tmp_path: Path) -> None:
    """Rows say nothing here, as they have no timestamps; what the user says is right, whatever the video says."""
    source = tmp_path / "source"
    write_dataset(source, lengths=(12,), fps=20)
    write_video(video_path(source, 0), num_frames=12, fps=40)
    settings: dict[str, Any] = {"robot": "aloha", "horizon": 4, "fps": "source"}
    with pytest.raises(EpisodesFailed, match=r"plays at 40 fps, not 20 as info.json says.*source_fps=40") as failed:
        convert_here(source, tmp_path / "out", **settings)
    assert [(one.code, one.camera) for one in failed.value.quarantined] == [(FaultCode.RATE, "top")]
    summary = convert_here(source, tmp_path / "right", source_fps=20, **settings)
    assert ("video-fps", 1) in [(one.code, one.num_episodes) for one in summary.warnings]
    assert read_stamps(video_path(tmp_path / "right", 0)) == [Stamp(frame, 0) for frame in range(12)]


@pytest.mark.parametrize(
    ("fps", "said"),
    [
        (20, None),
        (10, None),
        (15, "20 to 15 Hz is uneven, steps of 100 and 50 ms; 10 or 20 Hz would be even"),
        (8, "20 to 8 Hz is uneven, steps of 150 and 100 ms; 20/3 or 10 Hz would be even"),
    ],
)
def test_uneven_steps_are_noted(tmp_path: Path, fps: int, said: str | None) -> None:
    write_dataset(tmp_path / "source", lengths=(12,), fps=20)
    plan = plan_conversion(recipe_for(tmp_path / "source", robot="aloha", horizon=2, fps=fps))
    notes = [note for note in plan.notes if "Hz is uneven" in note]
    assert notes == ([] if said is None else [f"{tmp_path / 'source'}: {said}"])


def test_a_damaged_file_of_one_source_is_no_reason_for_another(tmp_path: Path) -> None:
    for name in ("damaged", "healthy"):
        write_dataset(tmp_path / name, version="v3.0", lengths=(20,))
    (damaged,), (healthy,) = (open_source(tmp_path / name).episodes for name in ("damaged", "healthy"))
    (rows,) = (tmp_path / "damaged/data").rglob("*.parquet")
    rows.write_bytes(bytes(1000))
    reader = RowReader()
    with pytest.raises(MillraceError):
        reader.read(damaged, ["action"])
    ranges, table = reader.read(replace(healthy, num_frames=25), ["action"])
    assert (sum(one.num_rows for one in ranges), len(table)) == (20, 20)
