"""A finished dataset: every promise about its files, the same bytes however it was made, and good pictures."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from conftest import (
    IMAGE_SIZE,
    LENGTHS,
    LOCAL,
    REPOSITORY,
    convert_here,
    data_path,
    files_of,
    matrix,
    read_meta,
    read_table,
    recipe_for,
    video_path,
)
from millrace.engine.convert import Workers, convert, estimate
from millrace.engine.errors import EpisodesFailed, OutputExists
from millrace.engine.planning.recipe import check_recipe
from millrace.engine.planning.resample import frame_indices
from support.barcode import Stamp
from support.synthetic import (
    ALOHA_JOINTS,
    DEFAULT_TASK,
    ExtraColumn,
    SyntheticVideo,
    edit_jsonl,
    expected_action,
    expected_state,
    read_stamps,
    write_dataset,
)

HORIZON = 16
COLUMNS = ["observation.state", "action", "timestamp", "frame_index", "episode_index", "index", "task_index"]
# Of the ALOHA guide's map: columns of GR1 and those of ALOHA that drive them.
LEFT_ARM, LEFT_HAND, RIGHT_ARM, RIGHT_HAND = slice(0, 6), slice(7, 13), slice(22, 28), slice(29, 35)


def chosen_frames(length: int) -> NDArray[np.int64]:
    return frame_indices(length, source_fps=Fraction(50), target_fps=Fraction(20))


def guide_map(source: NDArray[np.float32]) -> NDArray[np.float32]:
    """ALOHA onto GR1 as the guide writes it, index by index, (T, 14) -> (T, 44)."""
    target = np.zeros((len(source), 44), np.float32)
    target[:, LEFT_ARM], target[:, RIGHT_ARM] = source[:, 0:6], source[:, 7:13]
    target[:, LEFT_HAND], target[:, RIGHT_HAND] = source[:, 6:7], source[:, 13:14]
    return target


def all_rows(out: Path) -> pa.Table:
    return pa.concat_tables([read_table(out, episode) for episode in range(len(LENGTHS))])


def test_every_output_frame_is_the_source_frame_that_it_should_be(aloha_gr1: Path) -> None:
    for episode, length in enumerate(LENGTHS):
        chosen = chosen_frames(length)
        rows = read_table(aloha_gr1, episode)
        assert read_stamps(video_path(aloha_gr1, episode, "ego_view")) == [Stamp(i, episode) for i in chosen.tolist()]
        np.testing.assert_array_equal(matrix(rows, "observation.state"), guide_map(expected_state(episode, chosen)))
        np.testing.assert_array_equal(matrix(rows, "action"), guide_map(expected_action(episode, chosen)))


def test_rows_have_exactly_these_columns(aloha_gr1: Path) -> None:
    for episode in range(len(LENGTHS)):
        schema = read_table(aloha_gr1, episode).schema
        assert schema.names == COLUMNS
        assert [schema.field(name).type for name in COLUMNS[:3]] == [pa.list_(pa.float32(), 44)] * 2 + [pa.float32()]
        assert {schema.field(name).type for name in COLUMNS[3:]} == {pa.int64()}


def test_rows_are_numbered_and_timed_anew(aloha_gr1: Path) -> None:
    rows = all_rows(aloha_gr1)
    lengths = [len(chosen_frames(length)) for length in LENGTHS]
    frames = np.concatenate([np.arange(length) for length in lengths])
    np.testing.assert_array_equal(rows["frame_index"].to_numpy(), frames)
    np.testing.assert_array_equal(rows["timestamp"].to_numpy(), (frames / 20).astype(np.float32))
    np.testing.assert_array_equal(rows["episode_index"].to_numpy(), np.repeat(range(len(lengths)), lengths))
    np.testing.assert_array_equal(rows["index"].to_numpy(), np.arange(sum(lengths)))
    assert set(rows["task_index"].to_pylist()) == {0}


def test_these_files_are_made_and_no_others(aloha_gr1: Path) -> None:
    meta = ("info", "modality", "stats", "relative_stats")
    lists = ("tasks", "episodes", "episodes_stats")
    expected = {"README.md", "millrace.json", "modality_config.py", "preview.jpg"}
    expected |= {f"meta/{name}.json" for name in meta} | {f"meta/{name}.jsonl" for name in lists}
    expected |= {"meta/camera_levels.parquet"}
    for episode in range(len(LENGTHS)):
        paths = (data_path(aloha_gr1, episode), video_path(aloha_gr1, episode, "ego_view"))
        expected |= {str(path.relative_to(aloha_gr1)) for path in paths}
    assert set(files_of(aloha_gr1)) == expected


def test_info_describes_what_was_written(aloha_gr1: Path) -> None:
    info = read_meta(aloha_gr1, "info.json")
    lengths = [len(chosen_frames(length)) for length in LENGTHS]
    facts = {key: info[key] for key in info if key not in ("features", "data_path", "video_path")}
    assert facts == {
        "codebase_version": "v2.1",
        "robot_type": "gr1",
        "total_episodes": 3,
        "total_frames": sum(lengths),
        "total_tasks": 1,
        "total_videos": 3,
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": 20,
        "splits": {"train": "0:3"},
    }
    place = {"episode_chunk": 0, "episode_index": 2, "video_key": "observation.images.ego_view"}
    assert aloha_gr1 / info["data_path"].format(**place) == data_path(aloha_gr1, 2)
    assert aloha_gr1 / info["video_path"].format(**place) == video_path(aloha_gr1, 2, "ego_view")
    assert set(info["features"]) == {*COLUMNS, "observation.images.ego_view"}
    assert info["features"]["observation.images.ego_view"]["shape"] == [IMAGE_SIZE, IMAGE_SIZE, 3]
    assert info["features"]["action"]["shape"] == [44]
    assert info["features"]["action"]["names"][:2] == ["left_shoulder_pitch", "left_shoulder_roll"]


def test_episodes_and_tasks_are_listed(aloha_gr1: Path) -> None:
    assert read_meta(aloha_gr1, "tasks.jsonl") == [{"task_index": 0, "task": DEFAULT_TASK}]
    assert read_meta(aloha_gr1, "episodes.jsonl") == [
        {"episode_index": episode, "tasks": [DEFAULT_TASK], "length": len(chosen_frames(length))}
        for episode, length in enumerate(LENGTHS)
    ]


def plain_statistics(values: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """What GR00T computes, with plain numpy over axis 0."""
    doubles = values.astype(np.float64)
    return {
        "mean": doubles.mean(0),
        "std": doubles.std(0),
        "min": doubles.min(0),
        "max": doubles.max(0),
        "q01": np.quantile(doubles, 0.01, axis=0),
        "q99": np.quantile(doubles, 0.99, axis=0),
    }


def assert_statistics(found: Mapping[str, Any], values: NDArray[np.float32]) -> None:
    expected = plain_statistics(values)
    assert set(found) == set(expected)
    for name, wanted in expected.items():
        np.testing.assert_allclose(np.reshape(found[name], wanted.shape), wanted, rtol=2e-6, atol=1e-7, err_msg=name)


def test_stats_are_exact_for_every_float_feature(aloha_gr1: Path) -> None:
    rows, stats = all_rows(aloha_gr1), read_meta(aloha_gr1, "stats.json")
    assert set(stats) == {"observation.state", "action", "timestamp", "__fingerprints__"}
    assert_statistics(stats["timestamp"], rows["timestamp"].to_numpy()[:, None])
    for name in ("observation.state", "action"):
        assert np.shape(stats[name]["q01"]) == (44,)
        assert_statistics(stats[name], matrix(rows, name))


def test_relative_stats_are_those_of_every_whole_action_chunk(aloha_gr1: Path) -> None:
    relative = read_meta(aloha_gr1, "relative_stats.json")
    places = read_meta(aloha_gr1, "modality.json")
    assert set(relative) == {"left_arm", "right_arm"}
    for group, found in relative.items():
        chunks = []
        for episode in range(len(LENGTHS)):
            rows = read_table(aloha_gr1, episode)
            action, state = (
                matrix(rows, column)[:, places[kind][group]["start"] : places[kind][group]["end"]]
                for column, kind in (("action", "action"), ("observation.state", "state"))
            )
            chunks += [action[t : t + HORIZON] - state[t] for t in range(len(action) - HORIZON + 1)]
        assert np.shape(found["mean"]) == (HORIZON, 7)
        assert_statistics(found, np.stack(chunks))


def test_episodes_stats_are_those_of_lerobot(aloha_gr1: Path) -> None:
    lines = read_meta(aloha_gr1, "episodes_stats.jsonl")
    assert [line["episode_index"] for line in lines] == list(range(len(LENGTHS)))
    for episode, line in enumerate(lines):
        rows = read_table(aloha_gr1, episode)
        assert set(line["stats"]) == {*COLUMNS, "observation.images.ego_view"}
        for name in COLUMNS:
            values = np.array(rows[name].to_pylist(), np.float64).reshape(len(rows), -1)
            found = line["stats"][name]
            assert found["count"] == [len(rows)]
            for key in ("mean", "std", "min", "max"):
                np.testing.assert_allclose(found[key], getattr(values, key)(0), rtol=1e-6, atol=1e-9)
        image = line["stats"]["observation.images.ego_view"]
        assert {np.shape(image[key]) for key in ("mean", "std", "min", "max")} == {(3, 1, 1)}
        assert np.shape(image["count"]) == (1,)
        assert 0 <= np.min(image["min"]) <= np.min(image["mean"]) <= np.max(image["mean"]) <= np.max(image["max"]) <= 1


def test_the_modality_config_lists_what_the_dataset_holds(aloha_gr1: Path) -> None:
    places = read_meta(aloha_gr1, "modality.json")
    assert places["video"] == {"ego_view": {"original_key": "observation.images.ego_view"}}
    assert places["annotation"] == {"human.task_description": {"original_key": "task_index"}}
    for kind in ("state", "action"):
        bounds = [(place["start"], place["end"]) for place in places[kind].values()]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == 44
        assert all(end == start for (_, end), (start, _) in pairwise(bounds))
    source = (aloha_gr1 / "modality_config.py").read_text()
    compile(source, "modality_config.py", "exec")
    assert all(f'"{group}"' in source for group in ("left_arm", "left_hand", "right_arm", "right_hand", "waist"))
    assert f"range({HORIZON})" in source


def test_the_card_shows_the_layout_and_how_to_train(aloha_gr1: Path) -> None:
    card = (aloha_gr1 / "README.md").read_text()
    assert card.startswith("---\n")
    assert "| left_arm | 0:7 | 0:7 | relative |" in card
    assert "--modality-config-path" in card
    assert DEFAULT_TASK in card


def test_the_manifest_names_recipe_lineage_and_every_digest(aloha_gr1: Path, aloha: Path) -> None:
    manifest = json.loads((aloha_gr1 / "millrace.json").read_text())
    assert manifest["recipe"]["fps"] == "20"
    assert [line["source_episode"] for line in manifest["episodes"]] == [0, 1, 2]
    assert {line["source"] for line in manifest["episodes"]} == {aloha.name}
    listed = [*manifest["files"], *(file for line in manifest["episodes"] for file in line["files"])]
    assert {file["path"] for file in listed} == {*files_of(aloha_gr1)} - {"millrace.json"}


def test_horizon_reaches_statistics_and_config(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path / "out", horizon=5)
    assert np.shape(read_meta(tmp_path / "out", "relative_stats.json")["left_arm"]["mean"]) == (5, 7)
    assert "range(5)" in (tmp_path / "out/modality_config.py").read_text()


def test_several_chunks_cameras_and_tasks(tmp_path: Path) -> None:
    tasks = ["fold", ["grasp", "lift"], "fold", "stack"]
    video = SyntheticVideo(codec="libx264", gop=250, bframes=3)
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=(41, 33, 12, 7), cameras=("top", "wrist"), tasks=tasks, chunks_size=3, video=video)
    convert_here(source, out, robot="aloha", chunks_size=2, episodes="3,1,0", horizon=4)
    info = read_meta(out, "info.json")
    assert [info[f"total_{name}"] for name in ("episodes", "videos", "chunks", "tasks")] == [3, 6, 2, 4]
    texts = [line["task"] for line in read_meta(out, "tasks.jsonl")]
    assert texts == ["stack", "grasp", "lift", "fold"]
    assert [line["tasks"] for line in read_meta(out, "episodes.jsonl")] == [["stack"], ["grasp", "lift"], ["fold"]]
    for index, (episode, length) in enumerate([(3, 7), (1, 33), (0, 41)]):
        rows, chosen = read_table(out, index, chunk=index // 2), chosen_frames(length)
        np.testing.assert_array_equal(matrix(rows, "action"), expected_action(episode, chosen))
        named = read_table(source, episode, chunk=episode // 3)["task_index"].to_numpy()[chosen]
        source_texts = [line["task"] for line in read_meta(source, "tasks.jsonl")]
        assert [texts[i] for i in rows["task_index"].to_pylist()] == [source_texts[i] for i in named]
        for camera, name in enumerate(("top", "wrist")):
            stamps = read_stamps(video_path(out, index, name, chunk=index // 2))
            assert stamps == [Stamp(frame, episode, camera) for frame in chosen.tolist()]


def test_several_sources_become_one_dataset(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", lengths=(41, 12), tasks=["fold", "stack"])
    write_dataset(tmp_path / "b", lengths=(30,), fps=30, tasks=["stack"])
    sources = [{"path": tmp_path / name, "map": "aloha_to_gr1"} for name in ("a", "b")]
    recipe = check_recipe({"sources": sources, "image_size": IMAGE_SIZE})
    convert(recipe, tmp_path / "out", workers=LOCAL)
    manifest = json.loads((tmp_path / "out/millrace.json").read_text())
    assert [(Path(line["source"]).name, line["source_episode"]) for line in manifest["episodes"]] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
    ]
    chosen = frame_indices(30, source_fps=Fraction(30), target_fps=Fraction(20))
    assert read_stamps(video_path(tmp_path / "out", 2, "ego_view")) == [Stamp(frame) for frame in chosen.tolist()]
    rows = read_table(tmp_path / "out", 2)
    np.testing.assert_array_equal(matrix(rows, "action"), guide_map(expected_action(0, chosen)))
    assert set(rows["task_index"].to_pylist()) == {1}


def test_joints_in_another_order_arrive_in_the_robots(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(41,), names={"motors": list(ALOHA_JOINTS[::-1])})
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha")
    rows = read_table(tmp_path / "out", 0)
    np.testing.assert_array_equal(matrix(rows, "action"), expected_action(0, chosen_frames(41))[:, ::-1])
    assert read_meta(tmp_path / "out", "info.json")["features"]["action"]["names"] == list(ALOHA_JOINTS)


def test_other_columns_are_dropped_and_listed(tmp_path: Path) -> None:
    extra = {"next.reward": ExtraColumn(lambda episode, frames: frames.astype(np.float32))}
    write_dataset(tmp_path / "source", lengths=(41,), extra_columns=extra)
    summary = convert_here(tmp_path / "source", tmp_path / "out", columns=())
    assert summary.dropped == ("next.reward",)
    assert read_table(tmp_path / "out", 0).column_names == COLUMNS


def test_variable_lists_give_the_same_dataset(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, list_type="variable")
    convert_here(tmp_path / "source", tmp_path / "out")
    # The manifest and the notes of the card name the source.
    same = [name for name in files_of(aloha_gr1) if name not in ("millrace.json", "README.md")]
    ours, theirs = files_of(tmp_path / "out"), files_of(aloha_gr1)
    assert [name for name in same if ours[name] != theirs[name]] == []


def test_a_summary_counts_what_was_done(aloha: Path, tmp_path: Path) -> None:
    summary = convert_here(aloha, tmp_path / "out")
    assert (summary.num_episodes, summary.num_source_frames, summary.num_resumed) == (3, sum(LENGTHS), 0)
    assert summary.num_frames == sum(len(chosen_frames(length)) for length in LENGTHS)
    assert summary.source_seconds == pytest.approx(sum(LENGTHS) / 50)
    assert set(summary.stage_seconds) >= {"decode", "encode", "read rows"}


def test_an_estimate_writes_nothing(aloha: Path, tmp_path: Path) -> None:
    found = estimate(recipe_for(aloha), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (found.num_episodes, found.num_source_frames) == (3, sum(LENGTHS))
    assert found.num_frames == sum(len(chosen_frames(length)) for length in LENGTHS)
    assert found.num_bytes > 1000


def test_the_same_bytes_for_any_number_of_workers(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    for num_workers in (1, 2):
        out = tmp_path / "deeper" / f"out_{num_workers}"
        convert(recipe_for(aloha), out, workers=Workers(num=num_workers))
        ours, theirs = files_of(out), files_of(aloha_gr1)
        assert list(ours) == list(theirs)
        assert [name for name in ours if ours[name] != theirs[name]] == [], f"{num_workers} workers"


def test_final_files_say_nothing_of_this_run(aloha: Path, tmp_path: Path) -> None:
    out = tmp_path / "a_name_like_no_other"
    convert_here(aloha, out)
    host = socket.gethostname()
    for name, content in files_of(out).items():
        assert b"a_name_like_no_other" not in content, name
        assert len(host) < 4 or host.encode() not in content, name
    described = json.dumps([json.loads(content) for name, content in files_of(out).items() if name.endswith(".json")])
    assert not [word for word in ("seconds", "workers", "date", "created") if f'"{word}' in described]


def test_a_failed_episode_keeps_meta_away_and_the_others_done(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    video_path(tmp_path / "source", 1).unlink()
    with pytest.raises(EpisodesFailed, match=r"^episode 1, camera top: no video at ") as caught:
        convert_here(tmp_path / "source", tmp_path / "out")
    assert len(caught.value.lines) == 1
    assert not (tmp_path / "out/meta").exists()
    assert not (tmp_path / "out/millrace.json").exists()
    assert [video_path(tmp_path / "out", episode, "ego_view").exists() for episode in range(3)] == [True, False, True]


def test_every_failed_episode_has_its_line_in_order(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    for episode in (2, 0):
        video_path(tmp_path / "source", episode).unlink()
    with pytest.raises(EpisodesFailed) as caught:
        convert_here(tmp_path / "source", tmp_path / "out")
    assert [line.split(":")[0] for line in caught.value.lines] == ["episode 0, camera top", "episode 2, camera top"]


def test_a_foreign_folder_is_refused_and_left_alone(aloha: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("ten years of work")
    before = files_of(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(OutputExists, match=r"holds data, which Millrace did not make\. Choose another folder"):
            convert(recipe_for(aloha), tmp_path, workers=LOCAL, overwrite=overwrite)
    assert files_of(tmp_path) == before


def test_a_source_cannot_be_its_own_output(aloha_gr1: Path, tmp_path: Path) -> None:
    # A dataset that Millrace made is a source like any other: to overwrite it would destroy what is to be read.
    convert_here(aloha_gr1, tmp_path / "gr1", robot="gr1")
    before = files_of(tmp_path / "gr1")
    (tmp_path / "alias").symlink_to(tmp_path / "gr1")
    recipe = recipe_for(tmp_path / "gr1", robot="gr1", fps="source")
    for out in ("gr1", "alias"):
        with pytest.raises(OutputExists):
            convert(recipe, tmp_path / out, workers=LOCAL, overwrite=True)
        assert files_of(tmp_path / "gr1") == before


def test_a_finished_dataset_is_not_touched_without_overwrite(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    before = files_of(aloha_gr1)
    out = Path(shutil.copytree(aloha_gr1, tmp_path / "out", ignore=shutil.ignore_patterns(".millrace")))
    with pytest.raises(OutputExists, match=r"holds a finished dataset\. Choose another folder, or pass overwrite=True"):
        convert_here(aloha, out)
    assert files_of(out) == before


def test_overwrite_deletes_only_what_millrace_made(aloha: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert_here(aloha, out)
    theirs = ("notes.txt", "data/notes.txt", "videos/chunk-000/notes.txt")
    for name in theirs:
        (out / name).write_text("mine")
    convert(recipe_for(aloha, episodes="0:1"), out, workers=LOCAL, overwrite=True)
    assert not data_path(out, 2).exists()
    assert not video_path(out, 2, "ego_view").exists()
    assert [name for name in theirs if not (out / name).exists()] == []


def test_overwrite_does_not_replace_a_meta_folder_with_files_of_others(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path)
    (tmp_path / "meta/notes.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(OutputExists, match=r"meta holds notes\.txt, which Millrace did not make"):
        convert(recipe_for(aloha), tmp_path, workers=LOCAL, overwrite=True)
    assert files_of(tmp_path) == before


def test_overwrite_of_nothing_is_no_error(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    convert(recipe_for(aloha), tmp_path / "new/out", workers=LOCAL, overwrite=True)
    assert files_of(tmp_path / "new/out") == files_of(aloha_gr1)


def test_an_empty_folder_is_as_good_as_none(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path)
    assert files_of(tmp_path) == files_of(aloha_gr1)


# Not ru_maxrss, which begins with what the parent of the process holds.
PEAK_OF_CONVERSION = """
import sys
from pathlib import Path
from millrace.engine.convert import Workers, convert
from millrace.engine.planning.recipe import Recipe
convert(Recipe.single(sys.argv[1], robot="aloha", image_size=128), sys.argv[2], workers=Workers(local=True))
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")))
"""


def peak_kilobytes(source: Path, out: Path) -> int:
    command = [sys.executable, "-c", PEAK_OF_CONVERSION, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return int(done.stdout.split()[1])


def test_memory_does_not_grow_with_the_episode(tmp_path: Path) -> None:
    # Decoded, the longer episode has 33 MB more of pictures; reframed, 35 MB. Its rows and packets, and what malloc
    # keeps of them, take up to 21 MB.
    video = SyntheticVideo(codec="libx264", gop=250, bframes=3)
    peaks = []
    for length in (400, 4000):
        write_dataset(tmp_path / str(length), lengths=(length,), video=video)
        peaks.append(peak_kilobytes(tmp_path / str(length), tmp_path / f"out_{length}"))
    assert peaks[1] - peaks[0] < 27_000, f"{peaks} kB"


def real_aloha() -> Path:
    """Episodes of the ALOHA simulator: the two in the repository, or else the shared eight."""
    places = (REPOSITORY / "examples/aloha", REPOSITORY.parent / "shared/datasets/aloha_v21")
    found = [place for place in places if (place / "meta/info.json").is_file()]
    if not found:
        pytest.skip(f"NO REAL ALOHA DATA: the picture quality is not tested; looked for {', '.join(map(str, places))}")
    return found[0]


def area_matrix(size: int, new_size: int) -> NDArray[np.float32]:
    """How much of each source pixel each target pixel covers, (new_size, size); rows sum to 1."""
    edges = np.arange(new_size + 1) * size / new_size
    overlap = np.minimum(edges[1:, None], np.arange(size) + 1) - np.maximum(edges[:-1, None], np.arange(size))
    covered: NDArray[np.float32] = (np.maximum(overlap, 0) * new_size / size).astype(np.float32)
    return covered


def ideal_pictures(path: Path, frames: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Decoded, centre-cropped and area-scaled to 256x256 in float, (256, 256, 3) RGB."""
    area, wanted = area_matrix(480, 256), set(frames.tolist())
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                square = frame.to_ndarray(format="rgb24")[:, 80:560].astype(np.float32)
                yield (area @ square.transpose(2, 0, 1) @ area.T).transpose(1, 2, 0)


def test_pictures_stay_close_to_the_ideal_at_few_bytes(tmp_path: Path) -> None:
    source, every = real_aloha(), 4
    convert_here(source, tmp_path, image_size=256)
    for line in read_meta(tmp_path, "episodes.jsonl"):
        episode, num_frames = line["episode_index"], line["length"]
        written = video_path(tmp_path, episode, "ego_view")
        ideals = ideal_pictures(video_path(source, episode), chosen_frames(400)[::every])
        with av.open(str(written)) as container:
            pictures = islice(container.decode(video=0), 0, None, every)
            errors = [
                np.square(ideal - picture.to_ndarray(format="rgb24")).mean()
                for ideal, picture in zip(ideals, pictures, strict=True)
            ]
        psnr = float(np.mean(10 * np.log10(255**2 / np.array(errors))))
        assert psnr >= 44, f"episode {episode}: {psnr:.1f} dB"
        assert written.stat().st_size / num_frames <= 1300, f"episode {episode}"


def test_one_task_of_the_recipe_stands_for_all(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(41, 12), tasks=["fold", "stack"])
    edit_jsonl(tmp_path / "source/meta/tasks.jsonl", lambda rows: [])
    convert_here(tmp_path / "source", tmp_path / "out", task="Räum auf.")
    assert read_meta(tmp_path / "out", "tasks.jsonl") == [{"task_index": 0, "task": "Räum auf."}]
    assert [line["tasks"] for line in read_meta(tmp_path / "out", "episodes.jsonl")] == [["Räum auf."]] * 2
    assert set(read_table(tmp_path / "out", 1)["task_index"].to_pylist()) == {0}
