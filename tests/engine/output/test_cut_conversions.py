"""Datasets without the still stretches of their sources: no gaps, the same bytes, statistics of what is kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL, convert_here, files_of, matrix, read_meta, read_table, recipe_for, video_path
from millrace.commands.convert import Convert
from millrace.engine.convert import Workers, convert, estimate, plan_conversion
from millrace.engine.dataset.record import Cut, EpisodeResult
from millrace.engine.errors import EpisodesFailed, RecipeError
from millrace.engine.layout import LEDGER, MANIFEST, META
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.quality import DropPauses, TrimIdle
from millrace.engine.sources import open_source
from millrace.engine.validate import validate
from millrace.engine.video.decode import decode_frames
from support.barcode import Stamp
from support.depth_videos import add_depth, depth_codes
from support.still_stretches import Stretch, hold
from support.synthetic import ExtraColumn, SyntheticVideo, expected_state, read_stamps, write_dataset

FPS, LENGTHS = 20, (40, 30, 30, 50)
# Episode 2 moves throughout.
STILL: dict[int, list[Stretch]] = {0: [(0, 15), (31, 40)], 1: [(10, 22)], 3: [(0, 8), (20, 36), (44, 50)]}
VIDEO = SyntheticVideo(codec="libx264", gop=10)
CUT: dict[str, Any] = {
    "robot": "aloha",
    "fps": "source",
    "horizon": 4,
    "trim_idle": {"keep": "0.1s"},
    "drop_pauses": {"longer_than": "0.5s", "keep": "0.1s"},
}
# Of each stretch two frames stay, of a pause one at either end.
KEPT = {
    0: [*range(13, 33)],
    1: [*range(11), *range(21, 30)],
    2: [*range(30)],
    3: [*range(6, 21), *range(35, 46)],
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes that stand still at times; not to be changed."""
    root = tmp_path_factory.mktemp("pauses") / "aloha"
    rewards = {"next.reward": ExtraColumn(lambda episode, frames: (frames % 3).astype(np.float32))}
    write_dataset(root, lengths=LENGTHS, fps=FPS, video=VIDEO, extra_columns=rewards)
    for episode, stretches in STILL.items():
        hold(root, stretches, episode=episode)
    return root


@pytest.fixture(scope="module")
def converted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source without its still stretches; not to be changed."""
    out = tmp_path_factory.mktemp("converted") / "out"
    convert_here(source, out, **CUT)
    return out


def test_rows_frames_and_other_columns_are_those_that_are_kept(source: Path, converted: Path) -> None:
    first = 0
    for episode, kept in KEPT.items():
        before, after = read_table(source, episode), read_table(converted, episode)
        for column in ("observation.state", "action"):
            np.testing.assert_array_equal(matrix(after, column), matrix(before, column)[kept])
        assert read_stamps(video_path(converted, episode)) == [Stamp(frame, episode) for frame in kept]
        assert after["index"].to_pylist() == [*range(first, first + len(kept))]
        assert sum(after["next.reward"].to_pylist()) == sum(before["next.reward"].to_pylist())
        first += len(kept)
    assert read_meta(converted, "info.json")["total_frames"] == first
    assert [line["length"] for line in read_meta(converted, "episodes.jsonl")] == [len(kept) for kept in KEPT.values()]
    assert [problem for problem in validate(converted).problems if problem.severity == "error"] == []


def test_statistics_are_those_of_what_is_kept(source: Path, converted: Path) -> None:
    stats = read_meta(converted, "stats.json")["observation.state"]
    kept = np.concatenate(
        [matrix(read_table(source, episode), "observation.state")[kept] for episode, kept in KEPT.items()]
    )
    np.testing.assert_allclose(stats["mean"], kept.astype(np.float64).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(stats["q99"], np.quantile(kept, 0.99, axis=0), rtol=1e-5)


def test_the_manifest_lists_what_is_cut_and_what_counts_as_still(converted: Path) -> None:
    manifest = json.loads((converted / MANIFEST).read_text())
    (still,) = manifest["still"]
    assert still["within"]["left_arm"] == "0.01 rad"
    assert manifest["recipe"]["drop_pauses"] == {"longer_than": "0.5s", "keep": "0.1s"}
    cuts = [line.get("cuts") for line in manifest["episodes"]]
    assert cuts[0] == [{"start": 0, "stop": 13, "why": "start"}, {"start": 33, "stop": 40, "why": "end"}]
    assert cuts[1] == [{"start": 11, "stop": 21, "why": "pause"}]
    assert cuts[2] is None
    assert any("still is what stays within left_arm 0.01 rad" in note for note in manifest["notes"])


def test_an_episode_of_which_nothing_is_cut_is_copied(source: Path, converted: Path, tmp_path: Path) -> None:
    """A dataset that Millrace made has clips of the output's format."""
    again = convert_here(converted, tmp_path / "again", **CUT)
    assert (again.num_copied_clips, again.num_cut_frames) == (len(LENGTHS), 0)
    rows = "data/chunk-000/episode_000001.parquet"
    assert (tmp_path / "again" / rows).read_bytes() == (converted / rows).read_bytes()


class Stopped(Exception):
    """Raised in place of Ctrl-C."""


@pytest.mark.parametrize("num_done", [1, 3])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    source: Path, converted: Path, tmp_path: Path, num_done: int
) -> None:
    seen: list[EpisodeResult] = []

    def stop(result: EpisodeResult) -> None:
        seen.append(result)
        if len(seen) == num_done:
            raise Stopped

    with pytest.raises(Stopped):
        convert(recipe_for(source, **CUT), tmp_path / "out", workers=LOCAL, on_result=stop)
    summary = convert_here(source, tmp_path / "out", **CUT)
    assert summary.num_resumed == num_done
    assert files_of(tmp_path / "out") == files_of(converted)
    assert convert_here(source, tmp_path / "out", **CUT).was_finished


def test_processes_write_the_same_bytes(source: Path, converted: Path, tmp_path: Path) -> None:
    summary = convert(recipe_for(source, **CUT), tmp_path / "out", workers=Workers(2, executor="local"))
    assert files_of(tmp_path / "out") == files_of(converted)
    assert (summary.num_frames, summary.num_cut_frames) == (96, sum(LENGTHS) - 96)


def test_an_episode_that_is_still_throughout_is_quarantined(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    hold(tmp_path / "source", [(0, 30)], episode=1)
    with pytest.raises(EpisodesFailed, match=r"episode 1: the robot stands still in all 30 frames \(1.5 s\)"):
        convert_here(tmp_path / "source", tmp_path / "out", **CUT)
    summary = convert(recipe_for(tmp_path / "source", **CUT), tmp_path / "out", workers=LOCAL, skip_bad=True)
    assert [(one.code.value, one.episode) for one in summary.quarantined] == [("still", 1)]
    lengths = [line["length"] for line in read_meta(tmp_path / "out", "episodes.jsonl")]
    assert lengths == [len(KEPT[episode]) for episode in (0, 2, 3)]
    assert [problem for problem in validate(tmp_path / "out").problems if problem.severity == "error"] == []


def test_chunks_longer_than_what_is_kept_are_refused_before_meta_is_written(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="an action chunk has 40 steps, but the longest episode 30 frames"):
        convert_here(source, tmp_path / "out", **{**CUT, "horizon": 40})
    assert not (tmp_path / "out/meta").exists()


def test_a_dry_run_lists_what_would_be_cut(source: Path, tmp_path: Path) -> None:
    found = estimate(recipe_for(source, **CUT), tmp_path / "out")
    assert found.num_frames == 96
    assert [(one.episode, one.num_frames, one.cuts) for one in found.cuts] == [
        (0, 40, (Cut(start=0, stop=13, why="start"), Cut(start=33, stop=40, why="end"))),
        (1, 30, (Cut(start=11, stop=21, why="pause"),)),
        (
            3,
            50,
            tuple(Cut(start=a, stop=b, why=why) for a, b, why in [(0, 6, "start"), (21, 35, "pause"), (46, 50, "end")]),
        ),
    ]
    assert not (tmp_path / "out").exists()


def test_a_dry_run_names_episodes_of_which_too_little_is_left(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "source")
    hold(tmp_path / "source", [(0, 14), (15, 30)], episode=1)
    settings = {**CUT, "fps": 5, "horizon": 1, "resample": "linspace", "trim_idle": {"keep": "0.05s"}}
    found = estimate(recipe_for(tmp_path / "source", **settings), tmp_path / "out")
    (failed,) = [one for one in found.cuts if one.reason]
    assert failed.episode == 1
    assert "the 3 frames that move are too few for one output frame" in failed.reason
    assert found.num_episodes == 3


KINDS: dict[str, dict[str, Any]] = {
    "shared videos": {"version": "v3.0", "video": VIDEO},
    "images in rows": {"version": "v2.1", "images_as": "image"},
    "HDF5": {"version": "act"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_every_kind_of_clip_are_those_of_the_rows(tmp_path: Path, kind: str) -> None:
    """A wide band makes the first frames of any layout still."""
    source = tmp_path / "source"
    write_dataset(source, lengths=(24,), fps=FPS, **KINDS[kind])
    settings = {**CUT, "horizon": 1, "source_fps": FPS, "task": "Move.", "drop_pauses": None}
    wide = dict.fromkeys(("left_arm", "right_arm", "left_gripper", "right_gripper"), 0.95)
    convert_here(source, tmp_path / "out", **settings, still=wide)
    whole, rows = expected_state(0, np.arange(24)), matrix(read_table(tmp_path / "out", 0), "observation.state")
    places = [int(np.flatnonzero((whole == row).all(axis=1))[0]) for row in rows]
    assert 0 < len(places) < 24
    assert read_stamps(video_path(tmp_path / "out", 0)) == [Stamp(frame) for frame in places]


def test_depth_in_v30_follows_the_cuts(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=(30,), fps=FPS, video=VIDEO)
    add_depth(source, (30,), fps=FPS)
    hold(source, [(0, 15)])
    layouts = Layouts.parse("v3.0")
    convert(recipe_for(source, **{**CUT, "horizon": 1}), tmp_path / "out", workers=LOCAL, layouts=layouts)
    (episode,) = open_source(tmp_path / "out").episodes
    found = [frame.to_ndarray() for frame in decode_frames(episode.depth["top_depth"], np.arange(episode.num_frames))]
    due = [depth_codes(0, frame) for frame in range(13, 30)]
    assert len(found) == len(due)
    assert all(map(np.array_equal, found, due))


def test_depth_in_v30_follows_shifted_actions_and_the_filter(tmp_path: Path) -> None:
    source, lengths = tmp_path / "source", (6, 30)
    write_dataset(source, lengths=lengths, fps=FPS, video=VIDEO)
    add_depth(source, lengths, fps=FPS)
    settings = {"robot": "aloha", "fps": "source", "horizon": 1, "align_action": 3, "filter": {"min_length": "1s"}}
    convert(recipe_for(source, **settings), tmp_path / "out", workers=LOCAL, layouts=Layouts.parse("v3.0"))
    (episode,) = open_source(tmp_path / "out").episodes
    found = [frame.to_ndarray() for frame in decode_frames(episode.depth["top_depth"], np.arange(episode.num_frames))]
    assert len(found) == 27
    assert all(map(np.array_equal, found, [depth_codes(1, frame) for frame in range(3, 30)]))


@pytest.mark.parametrize("num_lost", [1, 3])
def test_a_run_that_was_killed_while_frames_are_numbered_goes_on_to_the_same_bytes(
    source: Path, converted: Path, tmp_path: Path, num_lost: int
) -> None:
    out = tmp_path / "out"
    shutil.copytree(converted, out)
    shutil.rmtree(out / META)
    lines = (out / LEDGER).read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line).get("kind") for line in lines]
    assert kinds == [None, *["done"] * 4, *["vacated"] * 3, *["done"] * 3]
    (out / LEDGER).write_bytes(b"".join(lines[:-num_lost]))
    summary = convert_here(source, out, **CUT)
    assert summary.num_resumed == len(LENGTHS) - num_lost
    assert files_of(out) == files_of(converted)


def test_flags_say_what_a_recipe_says(source: Path) -> None:
    flags = Convert(
        source=source,
        out=source / "out",
        robot="aloha",
        trim_idle=True,
        drop_pauses="1.5s",
        idle_keep="100ms",
        still=("left_arm=0.02",),
    )
    recipe = flags._recipe()
    assert recipe.trim_idle == TrimIdle(keep="0.1s")
    assert recipe.drop_pauses == DropPauses(longer_than=1.5, keep="0.1s")
    assert recipe.still == {"left_arm": 0.02}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"trim_idle": {"keep": "soon"}}, "takes a duration such as 0.2s, not 'soon'"),
        ({"trim_idle": {"lead": False, "tail": False}}, "neither lead nor tail is cut; leave trim_idle out"),
        ({"drop_pauses": "0.1s"}, "longer_than must be more than 0 s and than keep"),
        ({"trim_idle": True, "still": {"left_leg": 0.1}}, "'left_leg' is not a joint group of 'aloha'"),
        ({"trim_idle": True, "still": {"left_arm": 0}}, "takes a width above 0 in the group's unit, not 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(source: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as error:
        plan_conversion(recipe_for(source, robot="aloha", **settings))
    assert told in str(error.value)
