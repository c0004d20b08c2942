"""Every check of `validate`: its stable code, how bad it is when broken, and what it promises.

An error: GR00T N1.6 or LeRobot fails on the dataset or reads something else than was recorded, or its files contradict
each other. A warning: readers get by, but it costs something or was probably not meant. A note: it was meant so.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Check:
    """One promise of a good dataset; needs: the flag without which it is not judged."""

    severity: Severity
    promise: str
    needs: Literal["deep", "video_backend"] | None = None


CHECKS: dict[str, Check] = {
    # meta/
    "dataset-missing": Check("error", "The dataset's folder exists."),
    "meta-missing": Check("error", "meta/ holds info.json, episodes.jsonl, tasks.jsonl and modality.json."),
    "meta-parse": Check("error", "Every metadata file is JSON, or a line of JSON each, with the fields and types due."),
    "json-finite": Check("error", "No metadata file holds NaN, Infinity or a number too large for a float."),
    "jsonl-blank": Check("error", "No .jsonl file holds a blank line, on which GR00T's reader stops."),
    "index-unique": Check("error", "No episode_index and no task_index is listed twice."),
    "episode-numbers": Check("warning", "Episodes are numbered 0, 1, 2, ... in order, as LeRobot takes for granted."),
    "info-totals": Check("warning", "info.json's total_episodes, total_frames and total_tasks are what is there."),
    "info-file-totals": Check("warning", "info.json's total_videos and total_chunks are what is there."),
    "codebase-version": Check("warning", "info.json says v2.0 or v2.1, the layouts that GR00T reads."),
    "path-template": Check(
        "error",
        "data_path and video_path tell episodes and cameras apart, stay inside the dataset, and data_path "
        "is two levels deep as GR00T's data/*/*.parquet.",
    ),
    # modality.json
    "modality-empty": Check("error", "modality.json names at least one state group, one action group and one camera."),
    "modality-column": Check("error", "Every column that modality.json names is a feature of the kind it needs."),
    "modality-slices": Check("error", "Every group is a slice 0 <= start < end <= width of its column."),
    "modality-overlap": Check("warning", "No value belongs to two groups."),
    "modality-gap": Check("warning", "Every value of a column with groups belongs to one."),
    "annotation-missing": Check("warning", "modality.json names an annotation, where instructions are found."),
    "camera-unnamed": Check("warning", "Every camera of info.json is in modality.json, so that GR00T can see it."),
    # tasks
    "task-text": Check("error", "Every task says something once GR00T has removed its punctuation."),
    "task-placeholder": Check("warning", "Every task is an instruction, no mere label such as 'valid'."),
    "episode-tasks": Check("error", "Every episode lists tasks, and tasks.jsonl holds them."),
    "task-unresolved": Check("error", "Every task index in the rows is in tasks.jsonl."),
    "tasks-differ": Check("error", "An episode's rows and episodes.jsonl name the same tasks."),
    "task-unused": Check("warning", "The rows name every task that episodes.jsonl lists for their episode."),
    # data/
    "rows-missing": Check("error", "Every episode has its parquet file."),
    "rows-orphan": Check("error", "No parquet in data/*/ lacks an episode: GR00T's statistics would include it."),
    "rows-unreadable": Check("error", "Every parquet file can be read."),
    "rows-length": Check("error", "Every episode has as many rows as episodes.jsonl says."),
    "rows-finite": Check("error", "No number in the rows is missing, NaN or infinite."),
    "rows-index": Check("error", "frame_index, episode_index and index count as they should."),
    "columns-missing": Check("error", "Every feature but cameras is a parquet column."),
    "columns-dtype": Check("error", "Every column holds the kind of values that info.json says."),
    "columns-precision": Check("warning", "Every column's numbers have as many bits as info.json says."),
    "columns-shape": Check("error", "Every row of a column holds as many values as info.json says."),
    "lerobot-columns": Check("warning", "timestamp, frame_index, episode_index, index and task_index are there."),
    "timestamps": Check("error", "Timestamps begin at 0 and step by 1 / fps."),
    "timestamps-float32": Check(
        "warning", "Timestamps as float32 keep LeRobot's tolerance of 1e-4 s, which long episodes exceed by rounding."
    ),
    # videos/
    "video-missing": Check("error", "Every episode has its video of every camera."),
    "video-orphan": Check("warning", "No mp4 in videos/ lacks an episode and camera."),
    "video-unreadable": Check("error", "Every video can be opened and holds whole packets."),
    "video-frames": Check("error", "Every video holds as many frames as its episode has rows."),
    "video-codec": Check("warning", "Every video is H.264, which all of GR00T's decoders read."),
    "video-decoder": Check("error", "The decoder that is asked for reads every video.", needs="video_backend"),
    "video-pixels": Check("warning", "Every video is yuv420p."),
    "video-size": Check("error", "Every video's frames have the size that info.json says."),
    "video-rate": Check("error", "Every video plays at info.json's fps."),
    "video-constant-rate": Check("error", "The frames of every video are equally far apart in time."),
    "video-turned": Check("warning", "No display matrix turns or mirrors the frames: not all decoders apply it."),
    "video-start": Check("error", "Every video's first frame is shown at 0 s."),
    "video-decode": Check("error", "Every frame of every video decodes undamaged.", needs="deep"),
    # statistics
    "stats-missing": Check("warning", "The statistics that GR00T needs are there; it computes missing ones slowly."),
    "stats-complete": Check("error", "Statistics have mean, std, min, max, q01 and q99 of every float feature."),
    "stats-shape": Check("error", "Statistics have a number for each value, relative ones for each step as well."),
    "stats-order": Check("error", "min <= q01 <= q99 <= max, min <= mean <= max and std >= 0."),
    "stats-values": Check("error", "Statistics are those of the rows, up to float32 rounding."),
    "stats-constant": Check("warning", "Trained values change; GR00T makes 0 of those that never do."),
    "stats-at-rest": Check("note", "Trained values change, but for joints that the dataset's own map rests."),
    "stats-tiny-range": Check(
        "warning", "Trained values change by more than noise, which GR00T would scale to [-1, 1]."
    ),
    "beyond-limits": Check(
        "warning", "No joint goes beyond its limits, where the robot is one that ships: degrees are no radians."
    ),
    "relative-groups": Check(
        "error", "Every group of relative_stats.json is an action group with a state of its width."
    ),
    "relative-horizon": Check("error", "relative_stats.json covers as many steps in all groups, those of the config."),
    "episode-stats-missing": Check(
        "warning", "A v2.1 dataset has meta/episodes_stats.jsonl, without which LeRobot stops."
    ),
    "episode-stats-lines": Check("error", "meta/episodes_stats.jsonl has one line for each episode."),
    "episode-stats-shape": Check("error", "Every line of it has min, max, mean, std and count in LeRobot's shapes."),
    # modality_config.py
    "config-syntax": Check("error", "modality_config.py is Python."),
    "config-dynamic": Check("warning", "modality_config.py can be understood without running it."),
    "config-tag": Check("error", "It registers for a tag that N1.6 has and has no config for, as NEW_EMBODIMENT."),
    "config-keys": Check("error", "modality_config.py names only what modality.json has."),
    "config-action-configs": Check("error", "It has one ActionConfig for each action key."),
    "config-relative": Check("error", "Each RELATIVE action has its state among the state keys, of the same width."),
    "config-deltas": Check("error", "No delta index is negative, and chunks start at the last state."),
    "config-language": Check("error", "It has exactly one language key, at delta index 0."),
    # what training needs of the data; what it needs of a model is train/preflight's
    "model-dims": Check("error", "State and action of the config fit N1.6's 128 values each."),
    "model-dims-all": Check("warning", "Where there is no config, all groups together fit N1.6's 128 values."),
    "model-horizon": Check("error", "The action chunk fits N1.6's 50 steps."),
    "episodes-too-short": Check("error", "At least one episode is as long as an action chunk."),
    "episodes-untrained": Check(
        "warning", "No episode is shorter than an action chunk; GR00T trains on none of its steps."
    ),
    "shards": Check(
        "warning", "Episodes are enough for GR00T's default shards, or it stops with 'All shards must ...'."
    ),
    # millrace.json
    "digests": Check("error", "Every file that millrace.json lists has its size and SHA-256."),
    "files-unlisted": Check("warning", "millrace.json lists every file in data/ and videos/."),
}
