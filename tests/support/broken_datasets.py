"""A sound dataset, and for each check of validate() a way to break just what that notices."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conftest import IMAGE_SIZE, convert_here, data_path, matrix, read_meta, read_table, video_path
from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints
from millrace.engine.dataset.groot_stats import RelativeGroup, compute_statistics
from millrace.engine.dataset.problems import Report
from millrace.engine.dataset.record import FileRecord
from support.synthetic import (
    SyntheticVideo,
    corrupt_bytes,
    edit_json,
    edit_jsonl,
    rewrite_parquet,
    truncate_file,
    turn_video,
    write_dataset,
    write_video,
)

# Longer than N1.6's longest action chunk, so that only what a test shortens is short.
LENGTHS = (55, 53, 52)
FPS = 50
OTHER_TASK = "Open the drawer."
H264 = SyntheticVideo(codec="libx264", height=IMAGE_SIZE, width=IMAGE_SIZE, gop=10)


def write_whole(folder: Path) -> Path:
    """A converted dataset with nothing wrong, no joint at rest."""
    write_dataset(folder / "source", lengths=LENGTHS, fps=FPS)
    convert_here(folder / "source", folder / "whole", robot="aloha", fps="source")
    return folder / "whole"


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


def add_task(root: Path, listed: list[str]) -> None:
    """One more task, and these for the first episode, whose rows stay as they are."""
    append(root / "meta/tasks.jsonl", json.dumps({"task_index": 1, "task": OTHER_TASK}) + "\n")
    info(root, lambda content: content.update(total_tasks=2))
    episodes(root, lambda lines: lines[0].update(tasks=listed))


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
        name for name, feature in read_meta(root, "info.json")["features"].items() if "float" in feature["dtype"]
    ]
    places = {"left_arm": slice(0, 6), "right_arm": slice(7, 13)}
    groups = {name: RelativeGroup(place, place) for name, place in places.items()}
    found, relative = compute_statistics(sorted(root.glob("data/*/*")), features, groups, horizon=horizon)
    due = feature_fingerprints(read_meta(root, "info.json")["features"])
    stats(root, lambda _: {**{name: values.to_json() for name, values in found.items()}, FINGERPRINTS: due})
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


def rest_gripper(root: Path) -> None:
    """As a map does whose source has none."""
    set_gripper(root, lambda num_frames: np.full(num_frames, 0.25))
    paths = [
        path.relative_to(root)
        for folder in ("data", "videos")
        for path in (root / folder).rglob("*.*")
        if path.is_file()
    ]
    files = [FileRecord.of(root / path, path).model_dump(mode="json") for path in paths]
    (root / "millrace.json").write_text(json.dumps({"files": files, "at_rest": {"action": ["left_gripper"]}}))


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


def forge_digest(root: Path) -> None:
    """The manifest of a dataset whose first rows are others."""
    path = root / "millrace.json"
    before, found, after = path.read_text().rpartition('episode_000000.parquet"')
    assert found
    head, sha, rest = after.partition('"sha256": "')
    path.write_text(before + found + head + sha + ("0" if rest[0] != "0" else "1") + rest[1:])


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


def add_wide_camera(root: Path) -> None:
    """A second camera, trained like the first, of another size."""
    top, wrist = "observation.images.top", "observation.images.wrist"
    add_camera(root)
    info(root, lambda content: content["features"].update({wrist: {**content["features"][top], "shape": [32, 64, 3]}}))
    modality(root, lambda content: content["video"].update(wrist={"original_key": wrist}))
    config(root, '"top"', '"top", "wrist"', 1)
    edit_jsonl(
        root / "meta/episodes_stats.jsonl",
        lambda lines: [line["stats"].update({wrist: line["stats"][top]}) for line in lines] and None,
    )
    for episode, length in enumerate(LENGTHS):
        path = video_path(root, episode, "wrist")
        write_video(path, num_frames=length, fps=FPS, episode=episode, camera=1, video=replace(H264, height=32))


def swap_extremes(content: dict[str, Any]) -> None:
    entry = content["action"]
    entry["min"], entry["max"] = entry["max"], entry["min"]


def drop_last_action_config(root: Path) -> None:
    text = (root / "modality_config.py").read_text()
    config(root, text[text.rindex("            ActionConfig(") : text.index('        ],\n    ),\n    "language"')], "")


def set_mean(root: Path, off: float) -> None:
    def change(content: dict[str, Any]) -> None:
        content["observation.state"]["mean"][3] += off

    stats(root, change)


def shift_relative_mean(content: dict[str, Any]) -> None:
    content["left_arm"]["mean"][7][2] += 0.01


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
    "tasks-differ": lambda root: add_task(root, [OTHER_TASK]),
    "task-unused": lambda root: add_task(root, [read_meta(root, "tasks.jsonl")[0]["task"], OTHER_TASK]),
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
    "video-decoder": lambda root: encode(root, codec="libsvtav1"),
    "video-pixels": lambda root: encode(root, pix_fmt="yuv444p"),
    "video-size": lambda root: encode(root, width=96),
    "video-rate": lambda root: encode(root, fps=25),
    "video-constant-rate": lambda root: remux(video_path(root, 0), lambda place: place + (place > 20)),
    "video-turned": lambda root: turn_video(video_path(root, 0), (0, 1, -1, 0)),
    "video-start": lambda root: remux(video_path(root, 0), lambda place: place + 2),
    "video-decode": lambda root: corrupt_bytes(video_path(root, 0), 0.4, 800),
    "stats-missing": lambda root: (root / "meta/stats.json").unlink(),
    "stats-complete": lambda root: stats(root, lambda content: content["timestamp"].pop("q99") and None),
    "stats-shape": lambda root: stats(root, lambda content: content["action"]["mean"].append(0.0)),
    "stats-order": lambda root: stats(root, swap_extremes),
    "stats-values": lambda root: set_mean(root, 0.01),
    "stats-fingerprints": lambda root: stats(
        root, lambda content: content[FINGERPRINTS].update(action="sha256:" + "0" * 64)
    ),
    "stats-no-fingerprints": lambda root: stats(root, lambda content: content.pop(FINGERPRINTS) and None),
    "stats-constant": lambda root: set_gripper(root, lambda num_frames: np.full(num_frames, 0.25)),
    "stats-at-rest": rest_gripper,
    "stats-tiny-range": lambda root: set_gripper(root, lambda num_frames: np.arange(num_frames) * 1e-6),
    "beyond-limits": lambda root: set_gripper(root, lambda num_frames: np.linspace(0, 100, num_frames)),
    "relative-groups": lambda root: relative_stats(root, lambda content: content.update(tail=content["left_arm"])),
    "relative-horizon": cut_horizon,
    "relative-fingerprints": lambda root: relative_stats(root, lambda content: content.update({FINGERPRINTS: {}})),
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
    "model-dims": lambda root: widen(root, 119),
    "model-dims-all": lambda root: (widen(root, 119), drop_config(root)),
    "model-horizon": lambda root: set_horizon(root, 51),
    "camera-aspects": add_wide_camera,
    "episodes-too-short": lambda root: resize(root, {0: 12, 1: 13, 2: 14}),
    "episodes-untrained": lambda root: resize(root, {0: 55, 1: 53, 2: 14}),
    "shards": lambda root: resize(root, {0: 10 * 1024 + 16}),
    "digests": forge_digest,
    "digests-text": lambda root: change_byte(root / "README.md"),
    "files-unlisted": lambda root: (root / "data/chunk-000/notes.txt").write_text("mine"),
}
NEED_MANIFEST = {"digests", "digests-text", "files-unlisted"}
