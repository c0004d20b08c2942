"""Every check of `validate`: its stable code, how bad it is when broken, what it promises, and what to do then.

An error: GR00T or LeRobot fails on the dataset or reads something else than was recorded, or its files contradict
each other. A warning: readers get by, but it costs something or was probably not meant. A note: it was meant so, or
matters to some releases of GR00T only.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from millrace.engine.dataset.releases import RELEASES

Severity = Literal["error", "warning", "note"]
OLD, NEW = RELEASES[0], RELEASES[-1]


@dataclass(frozen=True)
class Check:
    """One promise of a good dataset; remedy: what to do where it is broken; needs: the flag that it is judged with."""

    severity: Severity
    promise: str
    remedy: str
    needs: Literal["deep", "video_backend"] | None = None


AGAIN = "Convert its source again: millrace convert SOURCE OUT --overwrite"
INFO = "Fix meta/info.json, or convert the source again"
MODALITY = "Fix meta/modality.json so that it names what meta/info.json has"
CONFIG = (
    "Fix the modality config, or a copy of it for millrace finetune --modality-config-path COPY.py; the one that "
    "`millrace convert` writes fits its dataset"
)
STATISTICS = "Delete the file: GR00T computes it again before training; `millrace convert` writes exact ones"
VIDEO = "Re-encode it as H.264 with yuv420p at the dataset's rate, a frame for each row: millrace convert does"
BACKEND = "Keep GR00T's default decoder; for others re-encode it: `millrace convert` writes H.264 with yuv420p"
ROWS = "Fix the episode's parquet file or leave the episode out: millrace convert SOURCE OUT --episodes LIST"
TASKS = "Fix meta/tasks.jsonl, or convert again: millrace convert SOURCE OUT --task 'WHAT THE ROBOT DOES'"
FILES = "Copy the dataset again, as a whole, or convert its source again"
HARMLESS = "Training goes on without"
VIEW = (
    "`millrace finetune` hands GR00T statistics as its release wants them; for NVIDIA's launcher: "
    "millrace groot-view DATASET OUT --gr00t {release}"
)

error, warning, note = partial(Check, "error"), partial(Check, "warning"), partial(Check, "note")

CHECKS: dict[str, Check] = {
    # meta/
    "dataset-missing": error(
        "The dataset's folder exists.", "Name the folder of a GR00T dataset; `millrace convert` makes one"
    ),
    "meta-missing": error(
        "meta/ holds info.json, episodes.jsonl, tasks.jsonl and modality.json.",
        "Let the conversion finish (the same command again), or convert the dataset with millrace convert",
    ),
    "meta-parse": error("Every metadata file is JSON, or JSON lines, with the fields and types due.", AGAIN),
    "json-finite": error("No metadata file holds NaN, Infinity or a number too large for a float.", AGAIN),
    "jsonl-blank": error("No .jsonl file has a blank line, which stops GR00T.", "Remove the blank lines"),
    "index-unique": error("No episode_index and no task_index is listed twice.", AGAIN),
    "episode-numbers": warning("Episodes are numbered 0, 1, 2, ... in order, as LeRobot assumes.", HARMLESS),
    "info-totals": warning("info.json counts the episodes, frames and tasks that there are.", INFO),
    "info-file-totals": warning("info.json counts the videos and chunks that there are.", INFO),
    "codebase-version": warning("info.json says v2.0 or v2.1, the layouts that GR00T reads.", INFO),
    "path-template": error("Each episode and camera has a path of its own in the dataset, where GR00T looks.", INFO),
    # modality.json
    "modality-empty": error("modality.json names a state group, an action group and a camera.", MODALITY),
    "modality-column": error("Every column of modality.json is a feature of the right kind.", MODALITY),
    "modality-slices": error("Every group is a slice 0 <= start < end <= width of its column.", MODALITY),
    "modality-overlap": warning("No value belongs to two groups.", MODALITY),
    "modality-gap": warning("Every value belongs to a group.", "Add a group for them, if they should be trained"),
    "annotation-missing": warning(
        "modality.json names an annotation, where instructions are found.",
        "Add the annotation, or name 'task' as the language key of the modality config",
    ),
    "camera-unnamed": warning(
        "Every camera of info.json is in modality.json, so that GR00T can see it.",
        "Add it to meta/modality.json, if it should be trained",
    ),
    # tasks
    "task-text": error("Every task says something once GR00T has removed its punctuation.", TASKS),
    "task-placeholder": warning("Every task is an instruction, no mere label such as 'valid'.", TASKS),
    "episode-tasks": error("Every episode lists tasks, and tasks.jsonl holds them.", TASKS),
    "task-unresolved": error("Every task index in the rows is in tasks.jsonl.", TASKS),
    "tasks-differ": error(
        "An episode's rows and episodes.jsonl name the same tasks.",
        "Write the tasks of the episode's rows into meta/episodes.jsonl, or convert the source again",
    ),
    "task-unused": warning("The rows name every task that episodes.jsonl lists for their episode.", HARMLESS),
    # data/
    "rows-missing": error("Every episode has its parquet file.", FILES),
    "rows-orphan": error(
        "No parquet in data/*/ lacks an episode: GR00T's statistics include it.",
        "Remove the files that belong to no episode",
    ),
    "rows-unreadable": error("Every parquet file can be read.", FILES),
    "rows-length": error(
        "Every episode has as many rows as episodes.jsonl says.",
        "Write the parquet file's number of rows into meta/episodes.jsonl, or convert again",
    ),
    "rows-finite": error("No number in the rows is missing, NaN or infinite.", ROWS),
    "rows-index": error("frame_index, episode_index and index count as they should.", AGAIN),
    "columns-missing": error(
        "Every feature but cameras is a parquet column.",
        "Convert it again: every feature of meta/info.json must be a column of that very name",
    ),
    "columns-dtype": error("Every column holds the kind of values that info.json says.", AGAIN),
    "columns-precision": warning("Every column's numbers have as many bits as info.json says.", HARMLESS),
    "columns-shape": error(
        "Every row of a column holds as many values as info.json says.",
        "Convert it again, so that every row holds as many values as meta/info.json says",
    ),
    "lerobot-columns": warning("The columns that LeRobot gives every dataset are there.", HARMLESS),
    "timestamps": error("Timestamps begin at 0 and step by 1 / fps.", AGAIN),
    "timestamps-float32": warning(
        "Timestamps as float32 keep LeRobot's tolerance of 1e-4 s, which long episodes exceed by rounding.",
        "Pass tolerance_s=1e-3 to LeRobotDataset, or record shorter episodes",
    ),
    # videos/
    "video-missing": error("Every episode has its video of every camera.", FILES),
    "video-orphan": warning("No mp4 in videos/ lacks an episode and camera.", HARMLESS),
    "video-unreadable": error("Every video can be opened and holds whole packets.", VIDEO),
    "video-frames": error("Every video holds as many frames as its episode has rows.", VIDEO),
    "video-codec": warning("Every video is H.264, which all of GR00T's decoders read.", BACKEND),
    "video-decoder": error("The decoder that is asked for reads every video.", VIDEO, needs="video_backend"),
    "video-pixels": warning("Every video is yuv420p.", BACKEND),
    "video-size": error("Every video's frames have the size that info.json says.", INFO),
    "video-rate": error("Every video plays at info.json's fps.", VIDEO),
    "video-constant-rate": error("The frames of every video are equally far apart in time.", VIDEO),
    "video-turned": warning("No display matrix turns or mirrors frames: not every decoder applies it.", VIDEO),
    "video-start": error("Every video's first frame is shown at 0 s.", VIDEO),
    "video-decode": error("Every frame of every video decodes undamaged.", VIDEO, needs="deep"),
    # statistics
    "stats-missing": warning("Statistics are there; GR00T computes missing ones, slowly.", HARMLESS),
    "stats-complete": error("Every float feature has mean, std, min, max, q01 and q99.", STATISTICS),
    "stats-shape": error("Statistics have a number for each value, relative ones for each step.", STATISTICS),
    "stats-order": error("min <= q01 <= q99 <= max, min <= mean <= max and std >= 0.", STATISTICS),
    "stats-values": error("Statistics are those of the rows, up to float32 rounding.", STATISTICS),
    "stats-fingerprints": warning(
        "Fingerprints in stats.json are those of info.json's float features, and of nothing else.",
        VIEW.format(release=NEW.choice),
    ),
    "stats-no-fingerprints": note(
        f"stats.json has fingerprints, so that GR00T {NEW.name} takes it as it is.", VIEW.format(release=NEW.choice)
    ),
    "stats-constant": warning(
        "Trained values change; GR00T makes 0 of those that never do.",
        "Leave such groups out of the modality config, unless they are meant to rest",
    ),
    "stats-at-rest": note("Trained values change, but for joints that the dataset's own map rests.", HARMLESS),
    "stats-tiny-range": warning(
        "Trained values change by more than noise, which GR00T would scale to [-1, 1].",
        "Leave such groups out of the modality config, or check that the joint was recorded",
    ),
    "beyond-limits": warning(
        "No joint goes beyond its limits, where the robot is one that ships: degrees are no radians.",
        "Check the source's unit, degrees or radians, and its robot; fix both in its robot file or map",
    ),
    "relative-groups": error("Every group of relative_stats.json has an action and as wide a state.", STATISTICS),
    "relative-horizon": error("relative_stats.json covers the config's steps in all groups.", STATISTICS),
    "relative-fingerprints": warning(
        f"relative_stats.json has no fingerprints, at which GR00T {OLD.name} stops.", VIEW.format(release=OLD.choice)
    ),
    "episode-stats-missing": warning("A v2.1 dataset has meta/episodes_stats.jsonl, as LeRobot needs.", HARMLESS),
    "episode-stats-lines": error("meta/episodes_stats.jsonl has one line for each episode.", AGAIN),
    "episode-stats-shape": error("Every line of it has LeRobot's statistics in their shapes.", AGAIN),
    # modality_config.py
    "config-syntax": error("modality_config.py is Python.", CONFIG),
    "config-dynamic": warning("modality_config.py can be understood without running it.", CONFIG),
    "config-tag": error("It registers for a tag that GR00T has and has no config for.", CONFIG),
    "config-keys": error("modality_config.py names only what modality.json has.", CONFIG),
    "config-action-configs": error("It has one ActionConfig for each action key.", CONFIG),
    "config-relative": error("Each RELATIVE action has its state among the state keys, as wide.", CONFIG),
    "config-deltas": error("No delta index is negative, and chunks start at the last state.", CONFIG),
    "config-language": error(
        "It has exactly one language key, at delta index 0.",
        'Put "language": ModalityConfig(delta_indices=[0], modality_keys=["task"]) into it',
    ),
    # what training needs of the data; what it needs of a model is train/preflight's
    "model-dims": error("State and action of the config fit the released model.", CONFIG),
    "model-dims-all": warning("Where there is no config, all groups together fit the model.", CONFIG),
    "model-horizon": error("The action chunk fits the released model.", CONFIG),
    "camera-aspects": warning(
        f"The config's cameras have one aspect: where GR00T {NEW.name} keeps that of images, it stops at several.",
        "Train without --shortest-image-edge, or convert again with one size for all: millrace convert SOURCE OUT "
        "--image-size 256 --crop pad",
    ),
    "episodes-too-short": error(
        "At least one episode is as long as an action chunk.",
        "Train on longer episodes, or with a shorter action chunk",
    ),
    "episodes-untrained": warning("No episode is shorter than an action chunk, and so untrained.", HARMLESS),
    "shards": warning(
        "Episodes are enough for GR00T's default shards, or it stops with 'All shards must ...'.",
        "Train by millrace finetune --shard-size {size}, or --episode-sampling-rate {rate}",
    ),
    # millrace.json
    "digests": error(
        "Every file that millrace.json lists has its size and SHA-256.",
        f"{FILES}; if the file was changed on purpose, delete millrace.json, which describes another dataset then",
    ),
    "digests-text": warning(
        "So does every text file: those of meta/, modality_config.py and the card.",
        "If it was changed on purpose, training goes on with it: all other checks judge it as it is",
    ),
    "files-unlisted": warning("millrace.json lists every file in data/ and videos/.", HARMLESS),
}
