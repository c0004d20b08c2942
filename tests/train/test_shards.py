"""Training's sparse access to a dataset: the right rows and frames from no more than they need, or who is to blame."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from conftest import data_path, video_path
from millrace.embodiments.errors import UnknownName
from millrace.engine.errors import FrameCountMismatch, VideoError
from millrace.train.shards import NUM_COMPARED, FrameReader, FrameStock, group_visits, read_step_columns, step_rows
from millrace.train.training_dataset import TrainingDataError, TrainingDataset
from support.barcode import read
from support.synthetic import (
    SyntheticVideo,
    corrupt_bytes,
    edit_json,
    replace_with_lfs_pointer,
    rewrite_parquet,
    write_video,
)

NUM_FRAMES = 40
SPARSE = np.array([3, 4, 17, 39])
VIDEOS = {
    "h264-gop-10": SyntheticVideo(codec="libx264", gop=10),
    "h264-b-frames": SyntheticVideo(codec="libx264", gop=12, bframes=3),
    "av1-gop-2": SyntheticVideo(),
    "hevc-open-gop": SyntheticVideo(codec="libx265", gop=12, bframes=3, open_gop=True),
}


def full_decode(path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Every frame through libav's default conversion, then the wanted ones: what an unhurried reader does."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack([frames[index] for index in indices])


class Counted:
    """A reference that remembers how often it was asked."""

    def __init__(self, answer: Callable[[Path, NDArray[np.int64]], NDArray[np.uint8]] = full_decode) -> None:
        self.answer = answer
        self.asked: list[int] = []

    def __call__(self, path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.asked.append(len(indices))
        return self.answer(path, indices)


def write(path: Path, video: SyntheticVideo, **options: int) -> Path:
    write_video(path, num_frames=NUM_FRAMES, fps=20, video=video, **options)
    return path


@pytest.mark.parametrize("video", VIDEOS.values(), ids=VIDEOS)
def test_the_frames_asked_for_arrive(video: SyntheticVideo, tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", video)
    frames = FrameReader(full_decode).read(path, SPARSE, num_frames=NUM_FRAMES)
    assert [read(image).frame for image in frames.values()] == list(frames) == SPARSE.tolist()
    assert np.array_equal(np.stack(list(frames.values())), full_decode(path, SPARSE))


def test_no_frames_are_asked_of_no_file(tmp_path: Path) -> None:
    """Of an episode shorter than an action chunk a shard has no steps."""
    assert FrameReader(full_decode).read(tmp_path / "v.mp4", np.empty(0, np.int64), num_frames=3) == {}


def test_the_reference_is_asked_once_for_each_kind_of_picture(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{n}.mp4", VIDEOS["h264-gop-10"], episode=n) for n in range(2))
    wide = write(tmp_path / "wide.mp4", SyntheticVideo(codec="libx264", gop=10, width=128))
    reference = Counted()
    reader = FrameReader(reference)
    for path in (first, second, first, wide, wide):
        reader.read(path, np.arange(9), num_frames=NUM_FRAMES)
    assert reference.asked == [NUM_COMPARED, NUM_COMPARED]


@pytest.mark.parametrize("color_range", ["tv", "pc"])
def test_colour_tags_are_heeded_as_the_reference_heeds_them(color_range: str, tmp_path: Path) -> None:
    tagged = SyntheticVideo(codec="libx264", gop=10, color_range=color_range, colorspace="bt709")
    reference = Counted(lambda path, indices: _converted_by_its_tags(path, indices, color_range))
    reader = FrameReader(reference)
    path = write(tmp_path / "v.mp4", tagged)
    frames = reader.read(path, SPARSE, num_frames=NUM_FRAMES)
    assert reference.asked == [NUM_COMPARED]
    assert np.array_equal(np.stack(list(frames.values())), _converted_by_its_tags(path, SPARSE, color_range))


def _converted_by_its_tags(path: Path, indices: NDArray[np.int64], color_range: str) -> NDArray[np.uint8]:
    """libavfilter's scale, which reads matrix and range off the frames."""
    graph = av.filter.Graph()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        source = graph.add_buffer(template=stream)
        scale = graph.add("scale", f"in_color_matrix=bt709:in_range={color_range}")
        rgb = graph.add("format", "pix_fmts=rgb24")
        sink = graph.add("buffersink")
        for one, other in ((source, scale), (scale, rgb), (rgb, sink)):
            one.link_to(other)
        graph.configure()
        frames = []
        for frame in container.decode(stream):
            graph.push(frame)
            frames.append(graph.pull().to_ndarray())
    return np.stack([frames[index] for index in indices])


def test_pictures_that_come_out_otherwise_are_left_to_the_reference(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", VIDEOS["h264-gop-10"])
    reference = Counted(lambda path, indices: 255 - full_decode(path, indices))
    reader = FrameReader(reference)
    for _ in range(2):
        frames = reader.read(path, SPARSE, num_frames=NUM_FRAMES)
        assert np.array_equal(np.stack(list(frames.values())), 255 - full_decode(path, SPARSE))
    assert reference.asked == [NUM_COMPARED, len(SPARSE), len(SPARSE)]


def test_grey_pictures_settle_nothing(tmp_path: Path) -> None:
    """A wrong matrix shows in colours only."""
    grey, coloured = tmp_path / "grey.mp4", write(tmp_path / "coloured.mp4", VIDEOS["h264-gop-10"])
    with av.open(str(grey), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        pictures = (av.VideoFrame.from_ndarray(np.full((64, 96, 3), 90 + n, np.uint8), "rgb24") for n in range(8))
        for picture in (*pictures, None):
            container.mux(stream.encode(picture))
    reference = Counted()
    reader = FrameReader(reference)
    reader.read(grey, np.arange(8), num_frames=8)
    assert reference.asked == [NUM_COMPARED, 8], "compared, not settled, so read by the reference"
    reader.read(coloured, SPARSE, num_frames=NUM_FRAMES)
    reader.read(grey, np.arange(8), num_frames=8)
    assert reference.asked == [NUM_COMPARED, 8, NUM_COMPARED]


def test_damage_in_groups_that_no_frame_needs_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", VIDEOS["h264-gop-10"])
    reader = FrameReader(full_decode)
    whole = reader.read(path, np.arange(5), num_frames=NUM_FRAMES)
    corrupt_bytes(path, offset_fraction=0.5, num_bytes=2000)
    assert all(np.array_equal(whole[n], image) for n, image in reader.read(path, np.arange(5), num_frames=40).items())


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda path: path.unlink(), VideoError, "no video at"),
        (replace_with_lfs_pointer, VideoError, "git lfs"),
        (lambda path: path.write_bytes(b""), VideoError, "is empty"),
    ],
    ids=["missing", "lfs-pointer", "empty"],
)
def test_an_unusable_video_is_named(
    spoil: Callable[[Path], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "v.mp4", VIDEOS["h264-gop-10"])
    spoil(path)
    with pytest.raises(error, match=message) as raised:
        FrameReader(full_decode).read(path, SPARSE, num_frames=NUM_FRAMES)
    assert str(path) in str(raised.value)


def test_a_video_of_another_length_than_its_rows_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", VIDEOS["h264-gop-10"])
    with pytest.raises(FrameCountMismatch, match=r"41 rows, but 40 frames in .*v\.mp4"):
        FrameReader(full_decode).read(path, SPARSE, num_frames=41)


def test_nothing_stays_open(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", VIDEOS["h264-gop-10"])
    reader = FrameReader(full_decode)
    reader.read(path, SPARSE, num_frames=NUM_FRAMES)
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        reader.read(path, SPARSE, num_frames=NUM_FRAMES)
    assert os.listdir("/proc/self/fd") == before
    copied = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(copied.read(path, SPARSE, num_frames=NUM_FRAMES)[17], full_decode(path, SPARSE)[2])


def test_a_frame_is_let_go_when_it_was_taken_for_the_last_time() -> None:
    images = {row: np.full((2, 2, 3), row, np.uint8) for row in (4, 7)}
    stock = FrameStock(images, np.array([[4, 7], [7, 7]]))
    assert stock.take(7).max() == 7
    assert stock.take(4).max() == 4
    assert list(images) == [7]
    stock.take(7)
    stock.take(7)
    assert not images


def test_splits_of_an_episode_that_follow_each_other_are_one_visit() -> None:
    parts = [np.array([5, 1]), np.array([3]), np.array([0]), np.array([2])]
    found = list(group_visits(zip([7, 7, 2, 7], parts, strict=True)))
    assert [(visit.episode, visit.steps.tolist(), len(visit.splits)) for visit in found] == [
        (7, [5, 1, 3], 2),
        (2, [0], 1),
        (7, [2], 1),
    ]


def test_rows_of_steps_as_groot_counts_them() -> None:
    steps = np.array([0, 5])
    assert step_rows(steps, [-1, 0, 2], num_rows=8).tolist() == [[7, 0, 2], [4, 5, 7]]
    assert step_rows(steps, [-1, 0, 4], num_rows=8, pad=True).tolist() == [[0, 0, 4], [4, 5, 7]]
    with pytest.raises(TrainingDataError, match="step 5 needs row 8, but there are 8 rows"):
        step_rows(steps, [0, 3], num_rows=8)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A parquet file of three rows, a column of each shape."""
    columns = {
        "fixed": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32(), 2)),
        "variable": pa.array([[1, 2], [3, None], [5, 6]], pa.list_(pa.float64())),
        "scalar": pa.array([0, 1, 2], pa.int64()),
        "ragged": pa.array([[1, 2], [3], [4, 5, 6]], pa.list_(pa.float32())),
        "holes": pa.array([[1.0], None, [3.0]], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_columns_of_every_shape_are_read(table: Path) -> None:
    found = read_step_columns(table, ["fixed", "variable", "scalar", "fixed"])
    assert found["fixed"].tolist() == [[1, 2], [3, 4], [5, 6]]
    np.testing.assert_array_equal(found["variable"], [[1, 2], [3, np.nan], [5, 6]])
    assert found["scalar"].tolist() == [0, 1, 2]


def test_only_the_columns_asked_for_are_read(table: Path) -> None:
    with pq.ParquetFile(table) as file:
        chunk = file.metadata.row_group(0).column(file.schema_arrow.names.index("scalar"))
        start, size = chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size
    content = bytearray(table.read_bytes())
    content[start : start + size] = bytes(size)
    table.write_bytes(content)
    assert read_step_columns(table, ["fixed"])["fixed"].shape == (3, 2)
    with pytest.raises(TrainingDataError, match=r"rows\.parquet is truncated or corrupt"):
        read_step_columns(table, ["scalar"])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("ragged", "rows differ in width"),
        ("holes", "1 rows are empty"),
        ("state", "no column 'state'. Known: fixed, variable, scalar, ragged, holes"),
    ],
)
def test_unusable_columns_are_named(column: str, message: str, table: Path) -> None:
    with pytest.raises(TrainingDataError, match=message) as raised:
        read_step_columns(table, [column])
    assert str(table) in str(raised.value)
    assert column in str(raised.value)


def test_a_column_whose_name_is_no_text_is_an_error(table: Path) -> None:
    table.write_bytes(table.read_bytes().replace(b"scalar", b"\xf1calar"))
    with pytest.raises(TrainingDataError, match=r"rows\.parquet is truncated or corrupt"):
        read_step_columns(table, ["fixed"])


def test_missing_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"no rows at .*rows\.parquet"):
        read_step_columns(tmp_path / "rows.parquet", ["x"])


def test_a_dataset_says_where_everything_lies(aloha_gr1: Path) -> None:
    dataset = TrainingDataset.open(aloha_gr1)
    camera = next(iter(dataset.modality.cameras))
    assert dataset.rows_path(1) == data_path(aloha_gr1, 1)
    assert dataset.video_path(2, camera) == video_path(aloha_gr1, 2, camera)
    assert dataset.joint_slice("state", "left_hand").column("state") == "observation.state"
    assert dataset.annotation_column("annotation.human.task_description") == "task_index"
    assert dataset.task(0).startswith("Pick up")
    assert [
        len(read_step_columns(dataset.rows_path(index), ["action"])["action"]) for index in dataset.lengths
    ] == list(dataset.lengths.values())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda dataset: dataset.video_path(0, "ego_veiw"), "Did you mean 'ego_view'"),
        (lambda dataset: dataset.joint_slice("action", "left_hnd"), "Did you mean 'left_hand'"),
        (lambda dataset: dataset.annotation_column("annotation.task"), "Known: annotation.human.task_description"),
    ],
)
def test_unknown_names_list_what_exists(
    ask: Callable[[TrainingDataset], object], message: str, aloha_gr1: Path
) -> None:
    with pytest.raises(UnknownName, match=message):
        ask(TrainingDataset.open(aloha_gr1))


def test_a_task_that_does_not_exist_is_an_error(aloha_gr1: Path) -> None:
    with pytest.raises(TrainingDataError, match="task_index 7 is not in meta/tasks"):
        TrainingDataset.open(aloha_gr1).task(7)


@pytest.fixture
def copied(aloha_gr1: Path, tmp_path: Path) -> Path:
    """A dataset's metadata alone, to be broken."""
    shutil.copytree(aloha_gr1 / "meta", tmp_path / "gr1/meta")
    return tmp_path / "gr1"


@pytest.mark.parametrize("name", ["info.json", "episodes.jsonl", "modality.json"])
def test_a_folder_without_its_metadata_is_no_dataset(name: str, copied: Path) -> None:
    (copied / "meta" / name).unlink()
    with pytest.raises(TrainingDataError, match=name) as raised:
        TrainingDataset.open(copied)
    assert str(copied) in str(raised.value)


def test_a_template_that_leads_elsewhere_is_refused(copied: Path) -> None:
    edit_json(copied / "meta/info.json", lambda info: {**info, "video_path": "../{video_key}/{episode_index}.mp4"})
    with pytest.raises(TrainingDataError, match="leads out of the dataset"):
        TrainingDataset.open(copied)


def test_rows_with_a_hole_stay_apart(aloha_gr1: Path, tmp_path: Path) -> None:
    copy = tmp_path / "rows.parquet"
    copy.write_bytes(data_path(aloha_gr1, 0).read_bytes())
    rewrite_parquet(copy, lambda table: pa.concat_tables([table.slice(0, 1), table.slice(2)]))
    whole, cut = (read_step_columns(path, ["action"])["action"] for path in (data_path(aloha_gr1, 0), copy))
    assert np.array_equal(np.delete(whole, 1, axis=0), cut)
