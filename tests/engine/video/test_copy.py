"""A clip that already is as wanted is copied, and only then; what is copied is what encoding would promise."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from rich.console import Console

from conftest import IMAGE_SIZE, LENGTHS, LOCAL, convert_here, files_of, read_meta, read_table, video_path
from millrace.commands.progress import print_estimate
from millrace.engine.convert import Summary, convert, estimate
from millrace.engine.errors import EpisodesFailed
from millrace.engine.planning.recipe import check_recipe
from millrace.engine.sources.episode import Clip
from millrace.engine.validate import validate
from millrace.engine.video.copy import ClipCopy, choose_copy, copy_clip
from millrace.engine.video.decode import decode_frames
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.probe import probe_video
from support.barcode import Stamp
from support.synthetic import (
    SyntheticVideo,
    corrupt_bytes,
    edit_jsonl,
    read_stamps,
    read_video,
    write_dataset,
    write_video,
)

SETTINGS = VideoSettings(Fraction(20), FrameSize.square(IMAGE_SIZE))
FITTING = SyntheticVideo(codec="libx264", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE)


def convert_again(source: Path, out: Path, **settings: Any) -> Summary:
    """A dataset at 20 Hz in small pictures, of whatever robot it is."""
    return convert_here(source, out, **{"robot": "aloha", "horizon": 4, **settings})


@pytest.fixture(scope="module")
def made(aloha: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that Millrace made."""
    out = tmp_path_factory.mktemp("made") / "made"
    convert_again(aloha, out)
    return out


def test_what_we_made_is_copied_byte_by_byte(made: Path, tmp_path: Path) -> None:
    summary = convert_again(made, tmp_path / "out")
    assert (summary.num_clips, summary.num_copied_clips) == (3, 3)
    for episode in range(len(LENGTHS)):
        assert video_path(tmp_path / "out", episode).read_bytes() == video_path(made, episode).read_bytes()
    names = ("stats.json", "relative_stats.json", "episodes_stats.jsonl", "info.json", "modality.json")
    assert all(read_meta(tmp_path / "out", name) == read_meta(made, name) for name in names)
    assert validate(tmp_path / "out", deep=True).is_valid


def test_nothing_of_what_we_made_is_decoded_to_be_copied(made: Path, tmp_path: Path) -> None:
    summary = convert_again(made, tmp_path / "out")
    assert "copy" in summary.stage_seconds
    assert not {"decode", "encode", "crop and scale"} & set(summary.stage_seconds)


def test_two_datasets_merge_by_copying(made: Path, tmp_path: Path) -> None:
    sources = [{"path": made, "episodes": "1:"}, {"path": made, "task": "Again.", "task_all": True}]
    recipe = check_recipe({"sources": sources, "robot": "aloha", "image_size": IMAGE_SIZE, "horizon": 4})
    summary = convert(recipe, tmp_path / "out", workers=LOCAL)
    assert summary.num_copied_clips == 5
    for index, episode in enumerate((1, 2, 0, 1, 2)):
        assert {stamp.episode for stamp in read_stamps(video_path(tmp_path / "out", index))} == {episode}
        assert set(read_table(tmp_path / "out", index)["episode_index"].to_pylist()) == {index}


def test_an_estimate_says_how_many_would_be_copied(aloha: Path, made: Path, tmp_path: Path, capsys: Any) -> None:
    sources = [{"path": made}, {"path": aloha, "episodes": "0:2"}]
    recipe = check_recipe({"sources": sources, "robot": "aloha", "image_size": IMAGE_SIZE, "horizon": 4})
    found = estimate(recipe, tmp_path / "out")
    summary = convert(recipe, tmp_path / "out", workers=LOCAL)
    assert (found.num_clips, found.num_copied_clips) == (summary.num_clips, summary.num_copied_clips) == (5, 3)
    print_estimate(found, 1, Console(width=120))
    assert "about 2 encoded, 3 copied as they are (judged by one episode of each source)" in capsys.readouterr().out


def test_cameras_that_swap_names_take_pictures_and_statistics_along(tmp_path: Path) -> None:
    source, once, twice = tmp_path / "source", tmp_path / "once", tmp_path / "twice"
    write_dataset(source, lengths=(41, 33), cameras=("top", "wrist"))
    swapped = {"top": "wrist", "wrist": "top"}
    assert convert_again(source, once, cameras=swapped).num_copied_clips == 0
    assert convert_again(once, twice, cameras=swapped).num_copied_clips == 4
    before, after = ([line["stats"] for line in read_meta(folder, "episodes_stats.jsonl")] for folder in (once, twice))
    for number, (name, other) in enumerate(swapped.items()):
        for episode in range(2):
            assert {stamp.camera for stamp in read_stamps(video_path(once, episode, other))} == {number}
            assert {stamp.camera for stamp in read_stamps(video_path(twice, episode, name))} == {number}
            mine, theirs = f"observation.images.{name}", f"observation.images.{other}"
            assert after[episode][mine] == before[episode][theirs] != before[episode][mine]


def test_the_manifest_names_what_was_copied(made: Path, tmp_path: Path) -> None:
    convert_again(made, tmp_path / "out")
    for folder, copied in ((tmp_path / "out", ["top"]), (made, [])):
        episodes = json.loads((folder / "millrace.json").read_text())["episodes"]
        assert all(line["copied"] == copied for line in episodes)


def alter_manifest(root: Path) -> None:
    path = root / "millrace.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))


def alter_statistics(root: Path) -> None:
    def change(rows: list[Any]) -> None:
        for row in rows:
            row["stats"]["observation.images.top"]["mean"] = [[[0.123]]] * 3

    edit_jsonl(root / "meta/episodes_stats.jsonl", change)


@pytest.mark.parametrize("change", [alter_manifest, alter_statistics, lambda root: (root / "millrace.json").unlink()])
def test_statistics_that_are_not_proven_are_taken_anew(
    made: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    copy_tree(made, tmp_path / "altered")
    change(tmp_path / "altered")
    summary = convert_again(tmp_path / "altered", tmp_path / "out")
    assert summary.num_copied_clips == 3
    assert "decode" in summary.stage_seconds
    for episode in range(len(LENGTHS)):
        found = read_meta(tmp_path / "out", "episodes_stats.jsonl")[episode]["stats"]["observation.images.top"]
        pixels = np.stack(read_video(video_path(tmp_path / "out", episode))) / 255
        np.testing.assert_allclose(np.ravel(found["mean"]), pixels.mean((0, 1, 2)), atol=0.02)


def copy_tree(source: Path, target: Path) -> None:
    for name, content in files_of(source).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)


def test_a_clip_of_others_is_copied_too_but_decoded_first(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(41, 33), fps=20, video=FITTING)
    summary = convert_again(tmp_path / "source", tmp_path / "out")
    assert summary.num_copied_clips == 2
    assert summary.stage_seconds["decode"] > 0
    assert video_path(tmp_path / "out", 1).read_bytes() == video_path(tmp_path / "source", 1).read_bytes()
    assert read_stamps(video_path(tmp_path / "out", 1)) == [Stamp(frame, 1) for frame in range(33)]
    assert validate(tmp_path / "out", deep=True).is_valid


def test_a_damaged_clip_of_others_is_not_copied(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(41, 33), fps=20, video=FITTING)
    path = video_path(tmp_path / "source", 1)
    corrupt_bytes(path, 0.6, 300)
    assert choose_copy(Clip(path, 33, Fraction(20)), SETTINGS) is ClipCopy.FILE  # its packets show nothing
    with pytest.raises(EpisodesFailed, match=f"episode 1, camera top: {path} is"):
        convert_again(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize("version", ["v3.0"])
def test_a_part_of_a_file_is_copied_by_its_packets(tmp_path: Path, version: str) -> None:
    """Each episode begins with a key frame, as where LeRobot concatenates videos."""
    write_dataset(tmp_path / "source", version=version, lengths=(30, 20, 13), fps=20, video=FITTING)
    summary = convert_again(tmp_path / "source", tmp_path / "out")
    assert summary.num_copied_clips == 3
    for episode, length in enumerate((30, 20, 13)):
        path = video_path(tmp_path / "out", episode)
        facts = probe_video(path)
        assert (facts.num_frames, facts.fps, facts.first_pts, facts.gop) == (length, 20, 0, min(length, 10))
        assert read_stamps(path) == [Stamp(frame, episode) for frame in range(length)]
    assert validate(tmp_path / "out", deep=True).is_valid


def test_a_part_that_does_not_begin_with_a_key_frame_is_encoded(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", version="v3.0", lengths=(30, 25, 13), fps=20, video=FITTING)
    summary = convert_again(tmp_path / "source", tmp_path / "out")
    assert summary.num_copied_clips == 2
    assert read_stamps(video_path(tmp_path / "out", 2)) == [Stamp(frame, 2) for frame in range(13)]


OTHERS = {
    "codec": SyntheticVideo(codec="libsvtav1", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE),
    "hevc": SyntheticVideo(codec="libx265", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE),
    "size": SyntheticVideo(codec="libx264", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE + 2),
    "gop": SyntheticVideo(codec="libx264", gop=5, height=IMAGE_SIZE, width=IMAGE_SIZE),
    "longer gop": SyntheticVideo(codec="libx264", gop=11, height=IMAGE_SIZE, width=IMAGE_SIZE),
    "b-frames": SyntheticVideo(codec="libx264", gop=10, bframes=2, height=IMAGE_SIZE, width=IMAGE_SIZE),
    "pixels": SyntheticVideo(codec="libx264", gop=10, pix_fmt="yuv444p", height=IMAGE_SIZE, width=IMAGE_SIZE),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_clip_that_is_not_quite_as_wanted_is_encoded(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, num_frames=33, fps=20, video=OTHERS[name])
    assert choose_copy(Clip(path, 33, Fraction(20)), SETTINGS) is None


def test_a_clip_of_another_rate_is_encoded(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, num_frames=33, fps=30, video=FITTING)
    assert choose_copy(Clip(path, 33, Fraction(30)), SETTINGS) is None
    assert (
        choose_copy(Clip(path, 33, Fraction(30)), VideoSettings(Fraction(30), FrameSize.square(IMAGE_SIZE)))
        is ClipCopy.FILE
    )


@pytest.mark.parametrize("num_frames", [32, 34])
def test_a_clip_of_another_length_is_not_copied(tmp_path: Path, num_frames: int) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, num_frames=33, fps=20, video=FITTING)
    assert choose_copy(Clip(path, num_frames, Fraction(20)), SETTINGS) is None


def test_frames_that_are_left_out_are_not_copied(made: Path, tmp_path: Path) -> None:
    summary = convert_again(made, tmp_path / "out", fps=10, horizon=2)
    assert summary.num_copied_clips == 0


@pytest.mark.parametrize("color_range", ["tv", "pc"])
def test_colours_are_those_of_the_source(tmp_path: Path, color_range: Any) -> None:
    video = SyntheticVideo(
        codec="libx264", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE, color_range=color_range, colorspace="bt709"
    )
    write_dataset(tmp_path / "source", version="v3.0", lengths=(30, 20), fps=20, video=video)
    assert convert_again(tmp_path / "source", tmp_path / "out").num_copied_clips == 2
    clip = Clip(video_path(tmp_path / "out", 1), 20, Fraction(20))
    first = next(decode_frames(clip, np.arange(20)))
    assert (int(first.color_range), int(first.colorspace)) == (1 if color_range == "tv" else 2, 1)
    assert validate(tmp_path / "out", deep=True).is_valid


def test_a_file_that_holds_more_than_the_clip_gives_its_packets_only(tmp_path: Path) -> None:
    path, clip = tmp_path / "two.mp4", tmp_path / "one.mp4"
    write_video(clip, num_frames=20, fps=20, video=FITTING)
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        streams = [target.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for packet in [packet for packet in source.demux(video=0) if packet.size]:
            for stream in streams:
                twin = av.Packet(bytes(packet))
                twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
                twin.is_keyframe, twin.stream = packet.is_keyframe, stream
                twin.duration = packet.duration  # else some muxers' edit lists cut the last frame off
                target.mux(twin)
    two = Clip(path, 20, Fraction(20))
    assert choose_copy(two, SETTINGS) is ClipCopy.PACKETS
    copy_clip(two, tmp_path / "copy.mp4", ClipCopy.PACKETS, SETTINGS)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert len(container.streams) == 1
    assert read_stamps(tmp_path / "copy.mp4") == [Stamp(frame) for frame in range(20)]


def test_groups_that_merely_rest_stay_untrained(aloha_gr1: Path, tmp_path: Path) -> None:
    summary = convert_here(aloha_gr1, tmp_path / "out", robot="gr1")
    assert summary.num_copied_clips == 3
    before, after = ((folder / "modality_config.py").read_text() for folder in (aloha_gr1, tmp_path / "out"))
    assert after.splitlines()[1:] == before.splitlines()[1:]
