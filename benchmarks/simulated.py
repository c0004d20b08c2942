"""Datasets of any number of episodes for benchmarks of what reads metadata: rows and videos are links to a few."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.runs import EXAMPLE, EXAMPLE_MAP
from millrace.engine.convert import Workers, convert
from millrace.engine.dataset.manifest import BEGIN, END
from millrace.engine.dataset.releases import RELEASES
from millrace.engine.layout import MANIFEST, EpisodePaths
from millrace.engine.planning.recipe import Recipe, check_recipe

MEAN_FRAMES = 250
CHUNK = 1000
# A file can have so many names on every usual file system.
MAX_LINKS = 30_000


def write_example(folder: Path) -> Path:
    """The example's episodes, converted with one camera."""
    convert(
        Recipe.single(EXAMPLE, map=EXAMPLE_MAP, task="Benchmark.", task_all=True), folder, workers=Workers(local=True)
    )
    return folder


def merge_copies(example: Path, out: Path, num_episodes: int) -> Path:
    """A sound dataset of at least so many episodes: the example's over and over, their clips copied."""
    info = json.loads((example / "meta/info.json").read_text())
    sources = [{"path": example}] * -(-num_episodes // info["total_episodes"])
    convert(check_recipe({"robot": info["robot_type"], "sources": sources}), out, workers=Workers(executor="local"))
    return out


def simulate_dataset(example: Path, out: Path, num_episodes: int) -> Path:
    """A dataset whose metadata name so many episodes of 250 frames on average; the files are not what it says."""
    shutil.copytree(example / "meta", out / "meta")
    shutil.copy(example / "modality_config.py", out)
    lengths = np.random.default_rng(0).integers(MEAN_FRAMES // 2, MEAN_FRAMES * 3 // 2, num_episodes).tolist()
    _repeat_lines(out / "meta/episodes.jsonl", [{"length": length} for length in lengths])
    if (out / "meta/episodes_stats.jsonl").is_file():
        _repeat_lines(out / "meta/episodes_stats.jsonl", [{}] * num_episodes)
    info = json.loads((out / "meta/info.json").read_text())
    info |= {"total_episodes": num_episodes, "total_frames": sum(lengths), "chunks_size": CHUNK}
    (out / "meta/info.json").write_text(json.dumps(info))
    _repeat_manifest(example / MANIFEST, out / MANIFEST, num_episodes)
    camera = next(name for name, feature in info["features"].items() if feature["dtype"] == "video")
    for index, (rows, video) in zip(range(num_episodes), _templates(example, out.parent), strict=False):
        paths = EpisodePaths(index, CHUNK)
        for template, name in ((rows, paths.data), (video, paths.video(camera.removeprefix("observation.images.")))):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(template, out / name)
    return out


def _repeat_lines(file: Path, changes: list[dict[str, object]]) -> None:
    """The lines over and over, numbered, with a change each."""
    values = [json.loads(line) for line in file.read_text().splitlines()]
    changed = {"episode_index", *changes[0]}
    # What stays the same is made into text once; of statistics that is nearly all.
    rests = [json.dumps({name: part for name, part in value.items() if name not in changed}) for value in values]
    with file.open("w") as lines:
        for index, change in enumerate(changes):
            start = json.dumps({"episode_index": index, **change}).removesuffix("}")
            lines.write(f"{start}, {rests[index % len(rests)].removeprefix('{')}\n")


def _repeat_manifest(manifest: Path, out: Path, num_episodes: int) -> None:
    """The manifest with a line of the first episode for each."""
    head, _, episodes = manifest.read_text().partition(BEGIN)
    line = episodes.splitlines()[1].strip().removesuffix(",")
    with out.open("w") as file:
        file.write(f"{head}{BEGIN}\n")
        file.writelines(f"    {line}{',' if index + 1 < num_episodes else ''}\n" for index in range(num_episodes))
        file.write(f"  {END}\n}}\n")


def write_base_model(folder: Path) -> Path:
    """The files of a base model by which a run is planned, without weights."""
    folder.mkdir()
    limits = {"max_state_dim": 128, "max_action_dim": 128}
    (folder / "config.json").write_text(json.dumps({"model_type": RELEASES[0].model_type, **limits}))
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_kwargs": {**limits, "max_action_horizon": 50}})
    )
    return folder


def _templates(example: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    """A parquet file and a video for each episode, copied again before they have too many names."""
    rows, video = next(example.glob("data/*/*.parquet")), next(example.rglob("*.mp4"))
    number = 0
    while True:
        copies = folder / f"rows-{number}.parquet", folder / f"video-{number}.mp4"
        shutil.copy(rows, copies[0])
        shutil.copy(video, copies[1])
        for _ in range(MAX_LINKS):
            yield copies
        number += 1
