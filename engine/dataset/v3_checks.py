"""Every check of `validate` for LeRobot v3.0, whose files hold many episodes: code, severity, promise and remedy.

An error: LeRobot 0.6.1 fails on the dataset or reads something else than was recorded, or its files contradict each
other. A warning: training goes on, but something is lost or was probably not meant. A note: it is worth knowing.
"""

from functools import partial

from millrace.engine.dataset.checks import CHECKS, Check

AGAIN = "Make the dataset again with the tool that wrote it, or write it new: millrace convert SOURCE OUT --robot same"
NEW = "Write it new: millrace convert DATASET OUT --robot same --layout v3.0"
INFO = "Fix meta/info.json"
FILES = "Copy the dataset again, as a whole"
STATISTICS = "For exact ones: millrace convert DATASET OUT --robot same --layout v3.0"
HARMLESS = "Training goes on without"

error, warning, note = partial(Check, "error"), partial(Check, "warning"), partial(Check, "note")

V3_CHECKS: dict[str, Check] = {
    # meta/
    "dataset-missing": error(CHECKS["dataset-missing"].promise, "Name the folder of a dataset"),
    "meta-missing": error(
        "meta/ holds info.json, tasks.parquet and episodes/.",
        "Let the conversion finish (the same command again), or copy the dataset again",
    ),
    "meta-parse": error("Every metadata file can be read, with the fields and types due.", AGAIN),
    "json-finite": error(CHECKS["json-finite"].promise, AGAIN),
    "codebase-version": error("info.json says v3.0; LeRobot refuses other versions.", INFO),
    "info-totals": error("info.json counts the episodes, frames and tasks that there are: LeRobot goes by it.", INFO),
    "path-template": error("data_path and video_path lead to files of the dataset, where LeRobot looks.", INFO),
    "lerobot-columns": error("The columns that LeRobot gives every dataset, and reads, are there.", INFO),
    "episode-columns": error("meta/episodes has every column that LeRobot reads, of numbers and texts.", NEW),
    "episode-numbers": error("Episode i is row i of meta/episodes, by which LeRobot finds it.", NEW),
    "episode-file-index": warning(
        "Every row of meta/episodes names its own file, as LeRobot's merge needs.",
        f"Training goes on without; before a merge by LeRobot: {NEW}",
    ),
    "task-numbers": error("Task i is row i of tasks.parquet, by which LeRobot finds it.", NEW),
    "task-text": warning("Every task says something.", "Name what the robot does in meta/tasks.parquet"),
    "task-unresolved": error("Every task index in the rows is in tasks.parquet.", NEW),
    "tasks-differ": error("An episode's rows and meta/episodes name the same tasks.", NEW),
    "task-unused": warning("The rows name every task that meta/episodes lists for their episode.", HARMLESS),
    # data/
    "rows-missing": error("Every data file that meta/episodes names is there, and every episode has rows.", FILES),
    "rows-orphan": error(
        "All rows in data/*/ are of listed episodes: LeRobot reads them too, and finds others' rows elsewhere then.",
        "Move files that belong to no episode away",
    ),
    "rows-unreadable": error("Every parquet file can be read.", FILES),
    "rows-length": error("Every episode has as many rows as meta/episodes says.", NEW),
    "rows-order": error("The rows of an episode lie together, in the order of the episodes.", NEW),
    "rows-offsets": error("dataset_from_index and dataset_to_index are the places of an episode's rows.", NEW),
    "rows-file-index": error("data/chunk_index and data/file_index name the file of an episode's rows.", NEW),
    "rows-finite": error("No number in the rows is missing, NaN or infinite.", AGAIN),
    "rows-index": error("frame_index and index count as they should.", NEW),
    "columns-missing": error("Every feature but cameras is a parquet column.", AGAIN),
    "columns-dtype": error("Every column holds the kind of values that info.json says.", AGAIN),
    "columns-precision": warning("Every column's numbers have as many bits as info.json says.", HARMLESS),
    "columns-shape": error("Every row of a column holds as many values as info.json says.", AGAIN),
    "timestamps": error("Timestamps begin at 0 in every episode and step by 1 / fps.", NEW),
    # videos/
    "video-missing": error("Every mp4 that meta/episodes names is there.", FILES),
    "video-orphan": warning("Every mp4 in videos/ is named by an episode.", "Nothing reads it: it may be deleted"),
    "video-unreadable": error("Every video can be opened and holds whole packets.", FILES),
    "video-places": error("Every clip begins with a frame of its mp4, and ends within it.", NEW),
    "video-length": error("from_timestamp and to_timestamp are as far apart as an episode's rows.", NEW),
    "video-overlap": error("No two episodes have the same frames of an mp4.", NEW),
    "video-gap": warning("All frames of an mp4 belong to episodes.", "Fine where episodes were deleted"),
    "video-order": warning(
        "Episodes lie in an mp4 in their order, as LeRobot writes them.", "Look whether frames and rows fit each other"
    ),
    "video-rate": error("Every video plays at info.json's fps.", NEW),
    "video-drift": error("Every frame is shown when its row says, to LeRobot's 0.1 ms.", NEW),
    "video-float32": warning(
        "No mp4 is longer than 1024 s: from there on float32, in which LeRobot compares times, cannot hold 0.1 ms.",
        f"Pass tolerance_s=1e-3 to LeRobotDataset, or shorten the files: {NEW}",
    ),
    "video-size": error("Every video's frames have the size that info.json says.", INFO),
    "video-info": warning("A camera's codec, pixels, size and rate in info.json are those of its videos.", INFO),
    "video-turned": warning("No display matrix turns or mirrors frames: not every decoder applies it.", NEW),
    "video-decode": error("Every frame of every video decodes undamaged.", NEW, needs="deep"),
    # statistics
    "stats-missing": error("meta/stats.json is there, without which LeRobot's training stops.", STATISTICS),
    "stats-complete": error("Every numeric feature and every camera has min, max, mean, std and count.", STATISTICS),
    "stats-quantiles": warning(
        "Every numeric feature has the quantiles 1, 10, 50, 90 and 99 %, as some policies need.", STATISTICS
    ),
    "stats-keys": error("Statistics are of features and of numbers; LeRobot's policies stop at others.", STATISTICS),
    "stats-shape": error("Statistics have a number for each value; of cameras three, as lists of one.", STATISTICS),
    "stats-order": error("min <= q01 <= ... <= q99 <= max, min <= mean <= max and std >= 0.", STATISTICS),
    "stats-values": error("Statistics in stats.json are those of the rows.", STATISTICS),
    "stats-averaged": note("Quantiles are of all values, not averages of those of the episodes.", STATISTICS),
    "stats-counters": warning(
        "So are those of timestamp and of the columns that count; no policy normalises by them.", HARMLESS
    ),
    "episode-stats-missing": warning("meta/episodes has statistics of each episode and feature.", HARMLESS),
    "episode-stats-shape": error("Statistics in meta/episodes have a number for each value.", NEW),
    "episode-stats-values": error("Statistics in meta/episodes are those of the episode's rows.", NEW),
    # millrace.json
    "digests": error(CHECKS["digests"].promise, f"{FILES}; if it was changed on purpose, delete millrace.json"),
    "digests-text": CHECKS["digests-text"],
    "files-unlisted": CHECKS["files-unlisted"],
}
