"""Commands and flags of other tools, and what takes their place here."""

from collections.abc import Iterable, Mapping

# Words for what our commands do: of LeRobot, the Hub's command and the guides.
COMMANDS = {
    "inspect": ("check", "describe", "info", "list", "look", "ls", "show"),
    "report": ("html", "visualise", "visualize", "visualize-dataset", "viz"),
    "convert": ("combine", "edit", "edit-dataset", "import", "merge", "resample"),
    "validate": ("lint", "test", "verify"),
    "finetune": ("fine-tune", "launch-finetune", "train"),
    "evaluate": ("eval", "score"),
    "serve": ("run-gr00t-server", "server"),
    "pipeline": ("run",),
    "upload": ("publish", "push", "push-to-hub"),
    "doctor": ("env", "environment", "status"),
}
DOWNLOAD = "Nothing needs to be downloaded first: name hf://org/name in place of a folder"
# By our flag, or our positional argument, what others call it.
FLAGS = {
    "fps": ("frame-rate", "hz", "rate", "target-fps", "target-rate"),
    "image_size": ("height", "image-resolution", "resize", "resolution", "target-resolution", "width"),
    "episodes": ("episode", "episode-index", "episode-indices", "max-episodes", "n-episodes", "num-episodes"),
    "robot": ("robot-type", "target-robot"),
    "map": ("embodiment-map", "mapping"),
    "task": ("instruction", "language-instruction", "prompt", "single-task"),
    "holdout": ("split", "test-size", "val-split"),
    "workers": ("jobs", "n-workers", "num-proc", "num-processes", "num-workers", "num-cpus"),
    "overwrite": ("force", "overwrite-output", "overwrite-output-dir"),
    "dry_run": ("check-only", "plan"),
    "debug": ("trace", "verbose"),
    "skip_bad": ("ignore-errors", "skip-errors", "skip-failed"),
    "base_model_path": ("base-model", "model", "model-path", "policy-path", "pretrained-path"),
    "output_dir": ("out", "output", "output-path", "save-dir"),
    "global_batch_size": ("batch-size",),
    "learning_rate": ("lr",),
    "max_steps": ("num-steps", "num-train-steps", "steps"),
    "use_wandb": ("wandb", "wandb-enable"),
    "num_gpus": ("gpus", "n-gpus"),
    "kind": ("repo-type",),
    "repo": ("hub-id", "name", "repo-id"),
    "folder": ("dataset-path", "folder-path", "input", "local-dir", "local-path", "path", "root"),
    "checkpoint": ("model-path", "policy-path", "pretrained-path"),
    "paths": ("checkpoint", "dataset-path", "model-path", "policy-path", "pretrained-path"),
    "out": ("dest", "output", "output-dir", "output-folder", "output-path", "save", "target"),
    **dict.fromkeys(
        ("source", "dataset", "datasets"),
        (
            "dataset",
            "dataset-dir",
            "dataset-path",
            "in",
            "input",
            "input-dir",
            "input-path",
            "local-dir",
            "path",
            "root",
            "src",
        ),
    ),
}
# Flags that name a dataset on the Hub, where a command takes a source.
HUB_IDS = ("dataset-repo-id", "hub-id", "repo", "repo-id")
# What is done without a flag.
NEEDLESS = {
    "push-to-hub": "`millrace upload OUT ORG/NAME` does that",
    "resume": "The same command again continues a stopped run",
    "continue": "The same command again continues a stopped run",
    "embodiment-tag": "It is for `millrace finetune`; a dataset has none",
    "quiet": "Add 2>/dev/null for results alone",
    "yes": "Nothing asks",
}


def find_command(word: str) -> str | None:
    """Our command for a word of another tool."""
    plain = word.removeprefix("lerobot-").replace("_", "-")
    return next((command for command, words in COMMANDS.items() if plain in words), None)


def advise_on_flag(flag: str, places: Mapping[str, str]) -> str | None:
    """What to write for a flag of another tool; None if none is known.

    Args:
        flag: Without hyphens at its start; of nested ones, such as dataset.repo_id, the last part counts, too.
        places: What a command takes, by our name: a flag, or the metavar of a positional argument.
    """
    names = (flag.replace(".", "-"), flag.rpartition(".")[2])
    for name in names:
        if name in HUB_IDS and (place := _first(("source", "dataset"), places)):
            return f"Write hf://org/name in place of {place}"
        ours = [one for one, theirs in FLAGS.items() if name in theirs]
        if place := _first(ours, places):
            return f"Use {place}" if place.startswith("-") else f"Write {place} without a flag"
    return next((NEEDLESS[name] for name in names if name in NEEDLESS), None)


def _first(names: Iterable[str], places: Mapping[str, str]) -> str | None:
    return next((places[name] for name in names if name in places), None)
