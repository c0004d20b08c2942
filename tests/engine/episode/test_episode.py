"""Every frame of an episode shows the source frame that its row says, or the episode says what is wrong."""

import hashlib
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from conftest import data_path, matrix, read_table, recipe_for, video_path
from millrace.engine.convert import plan_conversion
from millrace.engine.dataset.record import RESULT, EpisodeFailure, EpisodeRecord, EpisodeResult
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.planning.resample import frame_indices
from millrace.engine.video.probe import probe_video
from support.barcode import Stamp, read
from support.synthetic import (
    SyntheticVideo,
    corrupt_bytes,
    expected_action,
    expected_state,
    read_stamps,
    read_video,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
    write_video,
)

B_FRAMES = SyntheticVideo(codec="libx264", gop=250, bframes=3)
VIDEOS = {
    "av1-gop-2": SyntheticVideo(),
    "av1-gop-10": SyntheticVideo(gop=10),
    "av1-10-bit": SyntheticVideo(pix_fmt="yuv420p10le"),
    "h264-b-frames": B_FRAMES,
    "h264-open-gop": SyntheticVideo(codec="libx264", gop=12, bframes=3, open_gop=True),
    "h264-444-odd": SyntheticVideo(codec="libx264", gop=250, bframes=2, pix_fmt="yuv444p", height=99, width=131),
    "h264-422": SyntheticVideo(codec="libx264", gop=10, pix_fmt="yuv422p"),
    "h264-full-range": SyntheticVideo(codec="libx264", gop=10, color_range="pc", colorspace="bt709"),
    "hevc": SyntheticVideo(codec="libx265", gop=12, bframes=3),
    "hevc-open-gop": SyntheticVideo(codec="libx265", gop=12, bframes=3, open_gop=True),
    "portrait": SyntheticVideo(height=130, width=98),
}
RATES = {
    "50 to 20": (Fraction(50), 20),
    "30 to 20": (Fraction(30), 20),
    "29.97 to 20": (Fraction(30000, 1001), 20),
    "59.94 to 29.97": (Fraction(60000, 1001), "30000/1001"),
    "as the source": (Fraction(50), "source"),
    "29.97 as the source": (Fraction(30000, 1001), "source"),
}


def convert_one(source: Path, out: Path, number: int = 0, **settings: Any) -> EpisodeResult:
    """Output episode `number` of what the settings plan; unfinished files go to out/scratch."""
    plan = plan_conversion(recipe_for(source, **{"robot": "aloha", "horizon": 1, **settings}))
    scratch = out / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return convert_episode(plan.episodes[number], plan.job, out, scratch)


def assert_shows_its_rows(source_fps: Fraction, out: Path, *, length: int, target_fps: Any, resample: Any) -> None:
    """Pictures, states and actions of episode 0 are those of the very source frames that the rule chooses."""
    target = source_fps if target_fps == "source" else Fraction(target_fps)
    chosen = frame_indices(length, source_fps=source_fps, target_fps=target, resampler=resample)
    assert read_stamps(video_path(out, 0)) == [Stamp(frame) for frame in chosen.tolist()]
    rows = read_table(out, 0)
    np.testing.assert_array_equal(matrix(rows, "observation.state"), expected_state(0, chosen))
    np.testing.assert_array_equal(matrix(rows, "action"), expected_action(0, chosen))
    seconds = (np.arange(len(chosen)) / float(target)).astype(np.float32)
    np.testing.assert_array_equal(rows["timestamp"].to_numpy(), seconds)
    assert probe_video(video_path(out, 0)).fps == (target if len(chosen) > 1 else None)


@pytest.mark.parametrize("resample", ["nearest", "linspace"])
@pytest.mark.parametrize("name", VIDEOS)
def test_every_frame_is_the_source_frame_that_its_row_says(tmp_path: Path, name: str, resample: str) -> None:
    write_dataset(tmp_path / "source", lengths=(63,), video=VIDEOS[name])
    result = convert_one(tmp_path / "source", tmp_path / "out", resample=resample)
    assert isinstance(result, EpisodeRecord), result
    assert_shows_its_rows(Fraction(50), tmp_path / "out", length=63, target_fps=20, resample=resample)


@pytest.mark.parametrize("resample", ["nearest", "linspace"])
@pytest.mark.parametrize("rates", RATES)
def test_frames_and_rows_agree_at_every_rate(tmp_path: Path, rates: str, resample: str) -> None:
    source_fps, target_fps = RATES[rates]
    write_dataset(tmp_path / "source", lengths=(47,), fps=source_fps, video=B_FRAMES)
    result = convert_one(tmp_path / "source", tmp_path / "out", fps=target_fps, resample=resample)
    assert isinstance(result, EpisodeRecord), result
    assert_shows_its_rows(source_fps, tmp_path / "out", length=47, target_fps=target_fps, resample=resample)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
def test_the_shortest_episodes_are_converted_too(tmp_path: Path, length: int) -> None:
    write_dataset(tmp_path / "source", lengths=(length,))
    assert isinstance(convert_one(tmp_path / "source", tmp_path / "out"), EpisodeRecord)
    assert_shows_its_rows(Fraction(50), tmp_path / "out", length=length, target_fps=20, resample="nearest")


def test_padded_pictures_show_their_frames(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(21,))
    convert_one(tmp_path / "source", tmp_path / "out", crop="pad", image_size=96)
    images = read_video(video_path(tmp_path / "out", 0))
    stamps = [read(image, crop="pad", source_size=(64, 96)) for image in images]
    assert stamps == [Stamp(frame) for frame in (0, 2, 5, 8, 10, 12, 15, 18, 20)]


@pytest.mark.parametrize("color_range", ["tv", "pc"])
@pytest.mark.parametrize("colorspace", ["bt709", "bt601"])
def test_colours_and_their_tags_come_through(tmp_path: Path, color_range: Any, colorspace: Any) -> None:
    video = SyntheticVideo(codec="libx264", gop=10, crf=5, color_range=color_range, colorspace=colorspace)
    write_dataset(tmp_path / "source", lengths=(21,), video=video)
    convert_one(tmp_path / "source", tmp_path / "out")
    source, output = (first_frame(video_path(dataset, 0)) for dataset in (tmp_path / "source", tmp_path / "out"))
    assert (int(output.color_range), int(output.colorspace)) == (int(source.color_range), int(source.colorspace))
    square = source.to_ndarray(format="rgb24")[:, 16:80].astype(float)
    difference = output.to_ndarray(format="rgb24") - square
    assert np.abs(difference.mean((0, 1))).max() < 1.5


def first_frame(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def test_cameras_do_not_drift_apart(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(33,), cameras=("top", "left_wrist", "right_wrist"))
    convert_one(tmp_path / "source", tmp_path / "out")
    for camera, name in enumerate(("top", "left_wrist", "right_wrist")):
        stamps = read_stamps(video_path(tmp_path / "out", 0, name))
        assert stamps == [Stamp(frame, 0, camera) for frame in (0, 2, 5, 8, 10, 12, 15, 18, 20, 22, 25, 28, 30)]


def test_a_record_says_what_was_made(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(20, 33), cameras=("top", "wrist"), tasks=["fold", ["grasp", "lift"]])
    out = tmp_path / "out"
    record = convert_one(tmp_path / "source", out, 1)
    assert isinstance(record, EpisodeRecord)
    assert (record.index, record.source_episode, record.num_source_frames, record.num_frames) == (1, 1, 33, 13)
    assert record.tasks == ((1, "grasp"), (2, "lift"))
    assert [out / file.path for file in record.files] == [
        data_path(out, 1),
        video_path(out, 1, "top"),
        video_path(out, 1, "wrist"),
    ]
    for file in record.files:
        content = (out / file.path).read_bytes()
        assert (file.num_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_nothing_unfinished_is_left(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(20,))
    convert_one(tmp_path / "source", tmp_path / "out")
    assert not list((tmp_path / "out/scratch").iterdir())


def test_image_statistics_are_those_of_the_pictures(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(41,), video=SyntheticVideo(crf=10))
    record = convert_one(tmp_path / "source", tmp_path / "out")
    assert isinstance(record, EpisodeRecord)
    found = record.stats["observation.images.top"]
    pixels = np.stack(read_video(video_path(tmp_path / "out", 0))) / 255
    assert np.shape(found.mean) == np.shape(found.std) == np.shape(found.min) == np.shape(found.max) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(found.mean), pixels.mean((0, 1, 2)), atol=0.01)
    np.testing.assert_allclose(np.ravel(found.std), pixels.std((0, 1, 2)), atol=0.015)
    assert 1 <= found.count[0] <= 17


@pytest.mark.parametrize("is_failure", [False, True])
def test_results_survive_json_and_pickle(tmp_path: Path, is_failure: bool) -> None:
    write_dataset(tmp_path / "source", lengths=(20,))
    if is_failure:
        video_path(tmp_path / "source", 0).unlink()
    result = convert_one(tmp_path / "source", tmp_path / "out")
    assert isinstance(result, EpisodeFailure) == is_failure
    assert RESULT.validate_json(RESULT.dump_json(result)) == result
    assert pickle.loads(pickle.dumps(result)) == result


def with_frames(num_frames: int) -> Callable[[Path], None]:
    """Another video of the same episode, of that many frames."""
    return lambda path: write_video(path, num_frames=num_frames, fps=50, episode=1, video=B_FRAMES)


VIDEO_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "no video at {path}"),
    "short": (with_frames(32), "33 rows, but 32 frames in {path}"),
    "long": (with_frames(34), "33 rows, but 34 frames in {path}"),
    "truncated": (lambda path: truncate_file(path, 0.5), "{path} is truncated or corrupt"),
    "corrupt": (lambda path: corrupt_bytes(path, 0.0, 5000), "{path} is truncated or corrupt"),
    "empty": (lambda path: truncate_file(path, 0), "{path} is empty"),
    "pointer": (replace_with_lfs_pointer, "{path} is a Git LFS pointer"),
}


@pytest.mark.parametrize("camera", ["top", "wrist"])
@pytest.mark.parametrize("fault", VIDEO_FAULTS)
def test_a_faulty_video_names_episode_camera_and_file(tmp_path: Path, fault: str, camera: str) -> None:
    write_dataset(tmp_path / "source", lengths=(20, 33), cameras=("top", "wrist"), video=B_FRAMES)
    path = video_path(tmp_path / "source", 1, camera)
    spoil, told = VIDEO_FAULTS[fault]
    spoil(path)
    failure = convert_one(tmp_path / "source", tmp_path / "out", 1)
    assert isinstance(failure, EpisodeFailure)
    assert str(failure).startswith(f"episode 1, camera {camera}: {told.format(path=path)}")
    assert "\n" not in str(failure)
    assert not video_path(tmp_path / "out", 1, camera).exists()


def with_value(row: int, joint: int, value: float) -> Callable[[Path], None]:
    """One other number in the state."""

    def change(table: Any) -> Any:
        state = matrix(table, "observation.state")
        state[row, joint] = value
        column = table.column_names.index("observation.state")
        return table.set_column(column, "observation.state", [list(state)])

    return lambda path: rewrite_parquet(path, change)


ROW_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "no rows at {path}"),
    "truncated": (lambda path: truncate_file(path, 0.5), "{path} is truncated or corrupt"),
    "pointer": (replace_with_lfs_pointer, "{path} is a Git LFS pointer"),
    "short": (lambda path: rewrite_parquet(path, lambda rows: rows.slice(0, 32)), "32 rows in {path}"),
    "long": (lambda path: rewrite_parquet(path, lambda rows: rows.take([0, *range(33)])), "34 rows in {path}"),
    "no column": (
        lambda path: rewrite_parquet(path, lambda rows: rows.drop_columns(["action"])),
        "{path} has no column 'action'",
    ),
    "nan": (with_value(7, 3, np.nan), "column 'observation.state' has 1 values that are NaN or infinite in {path}"),
    "no such task": (
        lambda path: rewrite_parquet(
            path, lambda rows: rows.set_column(rows.column_names.index("task_index"), "task_index", [[7] * 33])
        ),
        "task_index [7] in {path}",
    ),
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_faulty_rows_name_episode_and_file(tmp_path: Path, fault: str) -> None:
    write_dataset(tmp_path / "source", lengths=(20, 33))
    path = data_path(tmp_path / "source", 1)
    spoil, told = ROW_FAULTS[fault]
    spoil(path)
    failure = convert_one(tmp_path / "source", tmp_path / "out", 1)
    assert isinstance(failure, EpisodeFailure)
    assert str(failure).startswith(f"episode 1: {told.format(path=path)}")
    assert "\n" not in str(failure)
