"""Every check of validate() notices what breaks it, and nothing else is said; bad data never raises."""

import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from conftest import IMAGE_SIZE, convert_here, data_path, files_of, matrix, read_meta, read_table, video_path
from engine.groot_stats import RelativeGroup, groot_statistics
from engine.validate import CHECKS, format_report, validate
from engine.validate.report import Report, problem
from synthetic import (
    SyntheticVideo,
    corrupt_bytes,
    edit_json,
    edit_jsonl,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
    write_video,
)

# Longer than N1.6's longest action chunk, so that only what a test shortens is short.
LENGTHS = (55, 53, 52)
FPS = 50
H264 = SyntheticVideo(codec="libx264", height=IMAGE_SIZE, width=IMAGE_SIZE, gop=10)
ODD_VALUES = (None, True, -1, 0, 3.5, 10**30, 1e308, "", "x", "\ud800", "\x1b[2J\n", [], [[]], [1, "a"], {}, {"a": 1})

NOBODY = 65534


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted dataset with nothing wrong, no joint at rest, and its millrace.json; not to be changed."""
    folder = tmp_path_factory.mktemp("validate")
    write_dataset(folder / "source", lengths=LENGTHS, fps=FPS)
    convert_here(folder / "source", folder / "whole", robot="aloha", fps="source")
    return folder / "whole"


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    """A copy as any tool may have made it: without millrace.json, whose digests would notice every change."""
    return copy(whole, tmp_path / "dataset", keep_manifest=False)


def copy(whole: Path, out: Path, *, keep_manifest: bool) -> Path:
    shutil.copytree(
        whole, out, ignore=shutil.ignore_patterns(".millrace", *([] if keep_manifest else ["millrace.json"]))
    )
    return out


def codes(report: Report) -> set[str]:
    return {found.code for found in report.problems}


# How to break a dataset.


def info(root: Path, change: Callable[[Any], Any]) -> None:
    edit_json(root / "meta/info.json", change)


def modality(root: Path, change: Callable[[Any], Any]) -> None:
    edit_json(root / "meta/modality.json", change)


def stats(root: Path, change: Callable[[Any], Any]) -> None:
    edit_json(root / "meta/stats.json", change)


def relative_stats(root: Path, change: Callable[[Any], Any]) -> None:
    edit_json(root / "meta/relative_stats.json", change)


def episodes(root: Path, change: Callable[[list[Any]], Any]) -> None:
    edit_jsonl(root / "meta/episodes.jsonl", change)


def config(root: Path, old: str, new: str, count: int = -1) -> None:
    """Replace a part of modality_config.py that must be there."""
    path = root / "modality_config.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def drop_config(root: Path) -> None:
    (root / "modality_config.py").unlink()


def rename_task(root: Path, task: str) -> None:
    edit_jsonl(root / "meta/tasks.jsonl", lambda lines: lines[0].update(task=task))
    episodes(root, lambda lines: [line.update(tasks=[task]) for line in lines] and None)


def column(root: Path, name: str, values: Callable[[NDArray[Any]], Any], kind: pa.DataType | None = None) -> None:
    """Replace a column of scalars or vectors in every episode."""
    for episode in range(len(LENGTHS)):
        table = read_table(root, episode)
        array = matrix(table, name) if pa.types.is_fixed_size_list(table[name].type) else table[name].to_numpy()
        rows = pa.array(list(values(array.copy())), kind or table[name].type)
        rewrite_parquet(data_path(root, episode), lambda table, rows=rows: put(table, name, rows))


def put(table: pa.Table, name: str, rows: Any) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, rows)
    return table.set_column(table.column_names.index(name), name, rows)


def refresh_statistics(root: Path, *, horizon: int = 16) -> None:
    """stats.json and relative_stats.json of the rows as they are now."""
    features = [
        name for name, feature in read_meta(root, "info.json")["features"].items() if feature["dtype"] == "float32"
    ]
    places = {"left_arm": slice(0, 6), "right_arm": slice(7, 13)}
    groups = {name: RelativeGroup(place, place) for name, place in places.items()}
    found, relative = groot_statistics(sorted(root.glob("data/*/*")), features, groups, horizon=horizon)
    stats(root, lambda _: {name: values.to_json() for name, values in found.items()})
    relative_stats(root, lambda kept: {**kept, **{name: values.to_json() for name, values in relative.items()}})


def set_horizon(root: Path, horizon: int) -> None:
    config(root, "list(range(16))", f"list(range({horizon}))")
    refresh_statistics(root, horizon=horizon)


def resize(root: Path, lengths: Mapping[int, int]) -> None:
    """Give episodes other lengths, repeating their rows and pictures; only these episodes remain."""
    first_row = 0
    for episode, length in lengths.items():
        table = read_table(root, episode).take(pa.array(np.arange(length) % LENGTHS[episode]))
        frames = np.arange(length)
        table = put(table, "timestamp", pa.array((frames / FPS).astype(np.float32)))
        table = put(put(table, "frame_index", pa.array(frames)), "index", pa.array(frames + first_row))
        rewrite_parquet(data_path(root, episode), lambda _, table=table: table)
        repeat_packets(video_path(root, episode), length)
        first_row += length
    for episode in set(range(len(LENGTHS))) - set(lengths):
        data_path(root, episode).unlink()
        video_path(root, episode).unlink()
    for name in ("episodes.jsonl", "episodes_stats.jsonl"):
        edit_jsonl(root / "meta" / name, lambda lines: [line for line in lines if line["episode_index"] in lengths])
    episodes(root, lambda lines: [line.update(length=lengths[line["episode_index"]]) for line in lines] and None)
    totals = {"total_episodes": len(lengths), "total_videos": len(lengths), "total_frames": first_row}
    info(root, lambda content: content.update(totals))
    refresh_statistics(root)


def widen(root: Path, num_values: int) -> None:
    """One more state group, in a column of its own."""
    name = "observation.wide"
    for episode, length in enumerate(LENGTHS):
        rows = pa.array(list(np.random.default_rng(episode).random((length, num_values), np.float32)))
        rewrite_parquet(data_path(root, episode), lambda table, rows=rows: put(table, name, rows))
    info(
        root,
        lambda content: content["features"].update({name: {"dtype": "float32", "shape": [num_values], "names": None}}),
    )
    modality(root, lambda content: content["state"].update(wide={"start": 0, "end": num_values, "original_key": name}))
    values = dict.fromkeys(("min", "max", "mean", "std"), [0.5] * num_values) | {"count": [1]}
    edit_jsonl(
        root / "meta/episodes_stats.jsonl",
        lambda lines: [line["stats"].update({name: values}) for line in lines] and None,
    )
    refresh_statistics(root)
    config(root, '"left_arm",\n', '"left_arm",\n            "wide",\n', 1)


def remux(path: Path, retime: Callable[[int], int], packets: Iterable[int] | None = None) -> None:
    """Write a video's packets, or those of the given numbers, at other frame times."""
    with av.open(str(path)) as old:
        stream = old.streams.video[0]
        held = [packet for packet in old.demux(stream) if packet.size]
        new_path = path.with_suffix(".new.mp4")
        with av.open(str(new_path), "w") as new:
            out = new.add_stream_from_template(stream)
            step = held[1].pts - held[0].pts
            for place, number in enumerate(range(len(held)) if packets is None else packets):
                packet = av.Packet(bytes(held[number]))
                packet.pts = packet.dts = retime(place) * step
                packet.duration = step
                packet.time_base, packet.stream, packet.is_keyframe = stream.time_base, out, held[number].is_keyframe
                new.mux(packet)
    new_path.replace(path)


def repeat_packets(path: Path, num_frames: int) -> None:
    """Show the video's whole groups of pictures again and again."""
    remux(path, lambda place: place, [place % 50 for place in range(num_frames)])


def encode(root: Path, *, num_frames: int = LENGTHS[0], fps: Fraction | int = FPS, **video: Any) -> None:
    """Replace the first episode's video."""
    settings = SyntheticVideo(**{"codec": "libx264", "height": IMAGE_SIZE, "width": IMAGE_SIZE, "gop": 10, **video})
    write_video(video_path(root, 0), num_frames=num_frames, fps=fps, video=settings)


def slow_down(root: Path, fps: Fraction) -> None:
    """So few frames a second that float32 cannot tell their times well."""
    info(root, lambda content: content.update(fps=float(fps)))
    column(root, "timestamp", lambda old: (np.arange(len(old)) / float(fps)).astype(np.float32))
    for episode, length in enumerate(LENGTHS):
        write_video(video_path(root, episode), num_frames=length, fps=fps, video=H264)
    refresh_statistics(root)


def set_gripper(root: Path, values: Callable[[int], NDArray[Any]]) -> None:
    """Give the left gripper's action other values: a function of the number of frames."""

    def change(rows: NDArray[Any]) -> NDArray[Any]:
        rows[:, 6] = values(len(rows))
        return rows

    column(root, "action", change)
    refresh_statistics(root)


def set_nan(root: Path) -> None:
    def change(rows: NDArray[Any]) -> NDArray[Any]:
        rows[3, 2] = np.nan
        return rows

    column(root, "observation.state", change)


def shorten_row(root: Path) -> None:
    rows = matrix(read_table(root, 0), "action").tolist()
    rows[5] = rows[5][:-1]
    rewrite_parquet(data_path(root, 0), lambda table: put(table, "action", pa.array(rows, pa.list_(pa.float32()))))


def change_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def cut_horizon(root: Path) -> None:
    def cut(content: dict[str, Any]) -> dict[str, Any]:
        return {key: {stat: values[:15] for stat, values in entry.items()} for key, entry in content.items()}

    relative_stats(root, cut)


def drop_action_groups(root: Path) -> None:
    modality(root, lambda content: content.update(action={}))
    drop_config(root)
    (root / "meta/relative_stats.json").unlink()


def add_camera(root: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["features"]["observation.images.wrist"] = content["features"]["observation.images.top"]
        content["total_videos"] *= 2

    info(root, change)


def swap_extremes(content: dict[str, Any]) -> None:
    entry = content["action"]
    entry["min"], entry["max"] = entry["max"], entry["min"]


def drop_last_action_config(root: Path) -> None:
    text = (root / "modality_config.py").read_text()
    config(root, text[text.rindex("            ActionConfig(") : text.index('        ],\n    ),\n    "language"')], "")


BREAKS: dict[str, Callable[[Path], Any]] = {
    "dataset-missing": shutil.rmtree,
    "meta-missing": lambda root: (root / "meta/tasks.jsonl").unlink(),
    "meta-parse": lambda root: (root / "meta/info.json").write_text("[]"),
    "json-finite": lambda root: stats(root, lambda content: content["action"]["mean"].append(float("nan"))),
    "jsonl-blank": lambda root: append(root / "meta/episodes.jsonl", "\n"),
    "index-unique": lambda root: episodes(root, lambda lines: [*lines, lines[0]]),
    "episode-numbers": lambda root: episodes(root, lambda lines: lines[::-1]),
    "info-totals": lambda root: info(root, lambda content: content.update(total_frames=1)),
    "info-file-totals": lambda root: info(root, lambda content: content.update(total_videos=1)),
    "codebase-version": lambda root: info(root, lambda content: content.update(codebase_version="v3.0")),
    "path-template": lambda root: info(root, lambda content: content.update(data_path="data/all/rows.parquet")),
    "modality-empty": drop_action_groups,
    "modality-column": lambda root: modality(
        root, lambda content: content["annotation"]["human.task_description"].update(original_key="task")
    ),
    "modality-slices": lambda root: modality(
        root, lambda content: content["state"].update(tail={"start": 5, "end": 15})
    ),
    "modality-overlap": lambda root: modality(
        root, lambda content: content["state"].update(wrist={"start": 5, "end": 6})
    ),
    "modality-gap": lambda root: (
        modality(root, lambda content: content["action"].pop("left_gripper") and None),
        drop_config(root),
    ),
    "annotation-missing": lambda root: (
        modality(root, lambda content: content.pop("annotation") and None),
        drop_config(root),
    ),
    "camera-unnamed": add_camera,
    "task-text": lambda root: rename_task(root, " ... "),
    "task-placeholder": lambda root: rename_task(root, "Valid."),
    "episode-tasks": lambda root: episodes(root, lambda lines: lines[0].update(tasks=[])),
    "task-unresolved": lambda root: column(root, "task_index", lambda old: old + 7),
    "rows-missing": lambda root: data_path(root, 1).unlink(),
    "rows-orphan": lambda root: shutil.copy(data_path(root, 1), data_path(root, 99)),
    "rows-unreadable": lambda root: truncate_file(data_path(root, 1), 0.5),
    "rows-length": lambda root: rewrite_parquet(data_path(root, 2), lambda table: table[:-1]),
    "rows-finite": set_nan,
    "rows-index": lambda root: column(root, "frame_index", lambda old: old[::-1]),
    "columns-missing": lambda root: rewrite_parquet(data_path(root, 1), lambda table: table.drop_columns("index")),
    "columns-dtype": lambda root: column(root, "task_index", lambda old: old, pa.float32()),
    "columns-precision": lambda root: column(root, "action", lambda old: old, pa.list_(pa.float64(), 14)),
    "columns-shape": shorten_row,
    "lerobot-columns": lambda root: info(root, lambda content: content["features"].pop("index") and None),
    "timestamps": lambda root: (column(root, "timestamp", lambda old: old + 1), refresh_statistics(root)),
    "timestamps-float32": lambda root: slow_down(root, Fraction(7, 1000)),
    "video-missing": lambda root: video_path(root, 1).unlink(),
    "video-orphan": lambda root: shutil.copy(video_path(root, 1), video_path(root, 99)),
    "video-unreadable": lambda root: truncate_file(video_path(root, 1), 0.5),
    "video-frames": lambda root: encode(root, num_frames=LENGTHS[0] - 1),
    "video-codec": lambda root: encode(root, codec="libx265"),
    "video-pixels": lambda root: encode(root, pix_fmt="yuv444p"),
    "video-size": lambda root: encode(root, width=96),
    "video-rate": lambda root: encode(root, fps=25),
    "video-constant-rate": lambda root: remux(video_path(root, 0), lambda place: place + (place > 20)),
    "video-start": lambda root: remux(video_path(root, 0), lambda place: place + 2),
    "video-decode": lambda root: corrupt_bytes(video_path(root, 0), 0.5, 200),
    "stats-missing": lambda root: (root / "meta/stats.json").unlink(),
    "stats-complete": lambda root: stats(root, lambda content: content["timestamp"].pop("q99") and None),
    "stats-shape": lambda root: stats(root, lambda content: content["action"]["mean"].append(0.0)),
    "stats-order": lambda root: stats(root, swap_extremes),
    "stats-values": lambda root: set_mean(root, 0.01),
    "stats-constant": lambda root: set_gripper(root, lambda num_frames: np.full(num_frames, 0.25)),
    "stats-tiny-range": lambda root: set_gripper(root, lambda num_frames: np.arange(num_frames) * 1e-6),
    "relative-groups": lambda root: relative_stats(root, lambda content: content.update(tail=content["left_arm"])),
    "relative-horizon": cut_horizon,
    "episode-stats-missing": lambda root: (root / "meta/episodes_stats.jsonl").unlink(),
    "episode-stats-lines": lambda root: edit_jsonl(root / "meta/episodes_stats.jsonl", lambda lines: lines[:-1]),
    "episode-stats-shape": lambda root: edit_jsonl(
        root / "meta/episodes_stats.jsonl", lambda lines: lines[1]["stats"]["action"].update(count=3)
    ),
    "config-syntax": lambda root: config(root, "CONFIG = {", "CONFIG = {{"),
    "config-dynamic": lambda root: config(root, "list(range(16))", "list(range(len(CONFIG)))"),
    "config-tag": lambda root: config(root, "EmbodimentTag.NEW_EMBODIMENT", "EmbodimentTag.UNITREE_G1"),
    "config-keys": lambda root: config(root, '"left_gripper",', '"left_griper",'),
    "config-action-configs": drop_last_action_config,
    "config-relative": lambda root: config(root, '            "left_arm",\n', "", 1),
    "config-deltas": lambda root: config(
        root,
        '"state": ModalityConfig(\n        delta_indices=[0]',
        '"state": ModalityConfig(\n        delta_indices=[-1, 0]',
    ),
    "config-language": lambda root: config(root, '["annotation.human.task_description"]', '["task", "sub_task"]'),
    "model-dims": lambda root: widen(root, 115),
    "model-dims-all": lambda root: (widen(root, 115), drop_config(root)),
    "model-horizon": lambda root: set_horizon(root, 51),
    "episodes-too-short": lambda root: resize(root, {0: 12, 1: 13, 2: 14}),
    "episodes-untrained": lambda root: resize(root, {0: 55, 1: 53, 2: 14}),
    "shards": lambda root: resize(root, {0: 10 * 1024 + 16}),
    "digests": lambda root: change_byte(root / "README.md"),
    "files-unlisted": lambda root: (root / "data/chunk-000/notes.txt").write_text("mine"),
}
NEED_MANIFEST = {"digests", "files-unlisted"}


def set_mean(root: Path, off: float) -> None:
    def change(content: dict[str, Any]) -> None:
        content["observation.state"]["mean"][3] += off

    stats(root, change)


def test_every_check_is_broken_by_one_test() -> None:
    assert list(BREAKS) == list(CHECKS)


def test_a_fresh_conversion_has_no_problem(whole: Path) -> None:
    report = validate(whole, deep=True)
    assert format_report(report) == f"valid: 3 episodes, 160 frames, {len(CHECKS)} checks"


def test_a_dataset_of_another_tool_has_no_problem(dataset: Path) -> None:
    drop_config(dataset)
    assert validate(dataset, deep=True).problems == ()


@pytest.mark.parametrize("code", CHECKS)
def test_each_check_notices_just_what_breaks_it(code: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=code in NEED_MANIFEST)
    BREAKS[code](root)
    report = validate(root, deep=CHECKS[code].is_deep)
    assert codes(report) == {code}, format_report(report)
    assert {found.severity for found in report.problems} == {CHECKS[code].severity}
    assert report.is_valid == (CHECKS[code].severity == "warning")
    assert all(found.path is None or not found.path.is_absolute() for found in report.problems)


def test_padding_gives_one_warning_in_one_line(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path / "out", fps="source")
    report = validate(tmp_path / "out")
    assert report.is_valid
    assert [found.code for found in report.problems] == ["stats-constant"]


def test_a_plain_lerobot_dataset_lacks_what_groot_needs(aloha: Path) -> None:
    report = validate(aloha)
    assert codes(report) == {"meta-missing", "video-codec", "stats-missing"}
    assert "modality.json" in str(report.errors[0].path)
    assert len([found for found in report.errors if found.code == "video-codec"]) == 3


def test_statistics_written_by_groot_itself_pass(dataset: Path) -> None:
    """As gr00t/data/stats.py computes them: everything in float32."""
    names = ("observation.state", "action")
    rows = {name: np.vstack([matrix(read_table(dataset, episode), name) for episode in range(3)]) for name in names}
    stats(dataset, lambda content: content.update({name: groot_own(values) for name, values in rows.items()}))
    assert validate(dataset).problems == ()


def groot_own(values: NDArray[np.float32]) -> dict[str, Any]:
    found = {name: getattr(np, name)(values, axis=0) for name in ("mean", "std", "min", "max")}
    found |= {"q01": np.quantile(values, 0.01, axis=0), "q99": np.quantile(values, 0.99, axis=0)}
    return {name: np.asarray(value).tolist() for name, value in found.items()}


def test_statistics_of_other_rows_are_noticed_in_every_number(dataset: Path) -> None:
    content = read_meta(dataset, "stats.json")
    for stat in ("mean", "std", "min", "max", "q01", "q99"):
        changed = json.loads(json.dumps(content))
        changed["action"][stat][0] += 0.004
        stats(dataset, lambda _, changed=changed: changed)
        assert codes(validate(dataset)) == {"stats-values"}, stat


def shift_relative_mean(content: dict[str, Any]) -> None:
    content["left_arm"]["mean"][7][2] += 0.01


def test_stale_relative_statistics_are_noticed(dataset: Path) -> None:
    relative_stats(dataset, shift_relative_mean)
    report = validate(dataset)
    assert [(found.code, found.path) for found in report.problems] == [
        ("stats-values", Path("meta/relative_stats.json"))
    ]


def test_a_b_frame_video_with_an_edit_list_is_fine(dataset: Path) -> None:
    encode(dataset, bframes=2)
    assert validate(dataset).problems == ()


def test_float64_rows_are_fine_where_info_says_so(dataset: Path) -> None:
    """As in NVIDIA's GR1 demo."""
    for name in ("observation.state", "action"):
        column(dataset, name, lambda old: old, pa.list_(pa.float64(), 14))
        info(dataset, lambda content, name=name: content["features"][name].update(dtype="float64"))
    assert validate(dataset).problems == ()


@pytest.mark.parametrize("name", ["data_path", "video_path"])
@pytest.mark.parametrize(
    "template",
    [
        "../out/{episode_index}",
        "/tmp/{episode_index}.parquet",
        "data/{episode_index:0999999999d}/x.parquet",
        "data/{episode_index.__class__}/x.parquet",
        "data/{episode_index[0]}/x.parquet",
        "data/{secret}/{episode_index}.parquet",
        "data/{episode_index}/{",
    ],
)
def test_path_templates_are_not_trusted(name: str, template: str, dataset: Path) -> None:
    info(dataset, lambda content: content.update({name: template}))
    assert codes(validate(dataset)) == {"path-template"}


def test_missing_video_path_is_an_error_as_groot_would_train_blind(dataset: Path) -> None:
    info(dataset, lambda content: content.update(video_path=None))
    assert codes(validate(dataset)) == {"path-template"}


@pytest.mark.parametrize("path", ["/etc/hostname", "../outside"])
def test_digests_are_never_taken_outside_the_dataset(path: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    edit_json(root / "millrace.json", lambda content: content["files"][0].update(path=path))
    found = [found for found in validate(root).errors if found.code == "digests"]
    assert len(found) == 1
    assert "leads out of the dataset" in found[0].message


def test_missing_and_resized_files_of_the_manifest_are_noticed(whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    (root / "README.md").unlink()
    append(root / "modality_config.py", "\n")
    found = [found.path for found in validate(root).errors]
    assert sorted(map(str, found)) == ["README.md", "modality_config.py"]


def test_a_cut_manifest_is_noticed(whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    truncate_file(root / "millrace.json", 0.9)
    assert codes(validate(root)) == {"meta-parse"}


def test_the_config_is_never_run(dataset: Path, tmp_path: Path) -> None:
    append(dataset / "modality_config.py", f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n")
    assert codes(validate(dataset)) == {"config-dynamic"}
    assert not (tmp_path / "ran").exists()


def test_names_in_the_config_are_followed(dataset: Path) -> None:
    config(dataset, "CONFIG = {", "STEPS = 15\nCONFIG = {")
    config(dataset, "range(16)", "range(STEPS)")
    assert codes(validate(dataset)) == {"relative-horizon"}


def test_relative_statistics_have_a_step_for_each_delta_index(dataset: Path) -> None:
    """GR00T's stats.py: steps 0, 2, ..., 30 are 16, though they span 31 frames."""
    config(dataset, "list(range(16))", "list(range(0, 32, 2))")
    assert validate(dataset).problems == ()


def test_a_chunk_has_as_many_steps_for_the_model_as_delta_indices(dataset: Path) -> None:
    config(dataset, "list(range(16))", "list(range(0, 54, 2))")
    relative_stats(dataset, lambda content: {name: stretched(entry, 27) for name, entry in content.items()})
    # 27 steps are few enough for the model, but the last episode lacks the 53 frames that they span.
    assert codes(validate(dataset)) == {"episodes-untrained"}


def stretched(entry: dict[str, Any], horizon: int) -> dict[str, Any]:
    return {stat: [values[0]] * horizon for stat, values in entry.items()}


def test_an_episode_must_hold_the_span_of_a_chunk(dataset: Path) -> None:
    config(dataset, "list(range(16))", "list(range(0, 64, 4))")
    report = validate(dataset)
    assert codes(report) == {"episodes-too-short"}
    assert "the 61 frames of an action chunk" in report.errors[0].message


@pytest.mark.parametrize("tag", ["", ", EmbodimentTag.GR1", ", embodiment_tag=EmbodimentTag.NEW_EMBODIMENT"])
def test_tags_without_a_config_of_groots_are_free(tag: str, dataset: Path) -> None:
    set_tag(dataset, tag)
    assert validate(dataset).problems == ()


@pytest.mark.parametrize("tag", [", EmbodimentTag.MY_ROBOT", ", embodiment_tag=EmbodimentTag.OXE_DROID"])
def test_tags_that_groot_stops_at_are_noticed(tag: str, dataset: Path) -> None:
    set_tag(dataset, tag)
    assert codes(validate(dataset)) == {"config-tag"}


def set_tag(root: Path, argument: str) -> None:
    path = root / "modality_config.py"
    text, num_calls = re.subn(
        r"(?m)^register_modality_config\(.*\)$", f"register_modality_config(CONFIG{argument})", path.read_text()
    )
    assert num_calls == 1
    path.write_text(text)


@pytest.mark.parametrize("steps", ["list(range(1048576))", "list(range(0, 65536))", str([0] * 5000)])
def test_endless_chunks_are_not_counted(steps: str, dataset: Path) -> None:
    config(dataset, "list(range(16))", steps)
    assert codes(validate(dataset)) == {"config-dynamic"}


def test_config_without_cameras_is_noticed(dataset: Path) -> None:
    config(dataset, '"top",', "")
    assert codes(validate(dataset)) == {"config-keys"}


def test_a_relative_action_takes_the_state_that_the_config_names(dataset: Path) -> None:
    """With state_key another group's state counts, so statistics of the old difference are stale."""
    relative = 'ActionConfig(  # "left_arm"\n                rep=ActionRepresentation.RELATIVE,'
    config(dataset, relative, f'{relative} state_key="right_arm",')
    report = validate(dataset)
    assert codes(report) == {"stats-values"}
    assert {found.path for found in report.problems} == {Path("meta/relative_stats.json")}


def test_poses_are_not_compared_as_if_they_were_joints(dataset: Path) -> None:
    relative_stats(dataset, shift_relative_mean)
    config(dataset, "ActionType.NON_EEF", "ActionType.EEF")
    assert validate(dataset).problems == ()


def test_a_duplicate_column_is_noticed(dataset: Path) -> None:
    rewrite_parquet(data_path(dataset, 0), lambda table: table.append_column("index", table["index"]))
    assert codes(validate(dataset)) == {"rows-unreadable"}


def test_sin_and_cos_count_double(dataset: Path) -> None:
    config(dataset, "list(range(16))", "[0, 1]")
    config(dataset, "delta_indices=[0],", 'delta_indices=[0], sin_cos_embedding_keys=["wide"],')
    widen(dataset, 60)
    assert "model-dims" in codes(validate(dataset))
    config(dataset, "sin_cos_embedding_keys", "mean_std_embedding_keys")
    assert "model-dims" not in codes(validate(dataset))


def test_nothing_is_written(whole: Path) -> None:
    before = files_of(whole)
    validate(whole, deep=True)
    assert files_of(whole) == before


def test_lfs_pointers_are_named(dataset: Path) -> None:
    for path in (data_path(dataset, 0), video_path(dataset, 1), dataset / "meta/modality.json"):
        replace_with_lfs_pointer(path)
    report = validate(dataset)
    assert codes(report) == {"rows-unreadable", "video-unreadable", "meta-parse"}
    assert all("git lfs pull" in found.message for found in report.errors)


FILES = [
    "meta/info.json",
    "meta/modality.json",
    "meta/episodes.jsonl",
    "meta/tasks.jsonl",
    "meta/stats.json",
    "meta/relative_stats.json",
    "meta/episodes_stats.jsonl",
    "millrace.json",
]
CONTENTS = {
    "empty": b"",
    "list": b"[]",
    "number": b"3",
    "text": b'"x"',
    "unfinished": b'{"features": ',
    "deep": b"[" * 100_000,
    "huge int": b'{"fps": ' + b"9" * 5000 + b"}",
    "not text": b"\xff\xfe\x00",
    "infinite": b'{"fps": Infinity}',
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", FILES)
def test_malformed_files_become_errors(name: str, content: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=name == "millrace.json")
    (root / name).write_bytes(CONTENTS[content])
    assert not validate(root).is_valid


@pytest.mark.parametrize("seed", range(40))
def test_odd_values_never_raise(seed: int, dataset: Path) -> None:
    """Replace a few values anywhere in the metadata by what has no business there."""
    chance = random.Random(seed)
    for name in chance.sample(FILES[:-1], 2):
        path = dataset / name
        lines = path.read_text().splitlines() if name.endswith("l") else [path.read_text()]
        values = [json.loads(line) for line in lines]
        for _ in range(2):
            replace_somewhere(values, chance)
        path.write_text("\n".join(map(json.dumps, values)))
    for line in format_report(validate(dataset)).splitlines():
        assert line.isprintable()


def replace_somewhere(value: Any, chance: random.Random) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    if not keys:
        return
    key = chance.choice(list(keys))
    if isinstance(value[key], dict | list) and value[key] and chance.random() < 0.8:
        replace_somewhere(value[key], chance)
    else:
        value[key] = deepcopy(chance.choice(ODD_VALUES))


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything, so it becomes somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o400])
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (".", "meta-missing"),
        ("meta", "meta-missing"),
        ("data/chunk-000", "rows-missing"),
        ("data", "rows-missing"),
        ("videos", "video-missing"),
    ],
)
def test_folders_that_may_not_be_read_become_errors(
    folder: str, expected: str, mode: int, whole: Path, shared_folder: Path
) -> None:
    root = copy(whole, shared_folder / "dataset", keep_manifest=False)
    (root / folder).chmod(mode)
    with ordinary_user():
        report = validate(root)
    (root / folder).chmod(0o755)
    assert expected in codes(report)
    assert "cannot be read (Permission denied)" in format_report(report)


@pytest.mark.parametrize("name", [*FILES, "modality_config.py"])
def test_files_that_may_not_be_read_become_errors(name: str, whole: Path, shared_folder: Path) -> None:
    root = copy(whole, shared_folder / "dataset", keep_manifest=True)
    (root / name).chmod(0o000)
    with ordinary_user():
        report = validate(root)
    assert name in {str(found.path) for found in report.errors}


def test_a_file_in_place_of_the_dataset_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert codes(validate(tmp_path / "file")) == {"dataset-missing"}


def test_an_unfinished_conversion_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    report = validate(tmp_path)
    assert codes(report) == {"meta-missing"}
    assert "has not finished" in report.errors[0].message


def test_progress_is_told_of_every_stage(whole: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    validate(whole, on_progress=lambda *step: told.append(step))
    assert ("episodes", 3, 3) in told
    assert ("statistics", 3, 3) in told
    assert {stage for stage, _, _ in told} == {"files", "episodes", "statistics"}


def test_many_problems_of_a_kind_are_cut_short() -> None:
    errors = [problem("rows-missing", f"data/{number}", "is missing") for number in range(1000)]
    warning = problem("stats-missing", "meta/stats.json", "is missing")
    report = Report((warning, *errors), 1, 2, 3)
    lines = list(report.lines(limit_per_code=5))
    assert lines[0] == "error    rows-missing  data/0: is missing"
    assert lines[5] == "error    rows-missing  and 995 more of this kind"
    assert lines[6] == "warning  stats-missing  meta/stats.json: is missing"
    assert len(report.problems) == 1001
    assert report.verdict == "invalid: 1000 errors, 1 warning"


def test_warnings_alone_leave_a_dataset_valid() -> None:
    report = Report((problem("stats-missing", None, "is missing"),), 8, 1280, 70)
    assert report.verdict == "valid: 8 episodes, 1280 frames, 70 checks, 1 warning"


def test_untrusted_text_stays_in_its_line() -> None:
    found = problem("meta-parse", "a\x1b[2J", "evil\r\n\u202etext")
    assert str(found) == "error    meta-parse  a\\x1b[2J: evil\\r\\n\\u202etext"
