"""The overview that `millrace` prints: its commands by step of work, a line for each."""

from collections.abc import Mapping

from millrace.engine.dataset.releases import RELEASES

INTRODUCTION = (
    f"Millrace turns robot datasets into what NVIDIA GR00T {' and '.join(one.name for one in RELEASES)} train on."
)
# Each step of work, its commands, and what they do.
STEPS: Mapping[str, Mapping[str, str]] = {
    "Look": {
        "inspect": "what a dataset holds, what is wrong with it, and the next command",
        "report": "the same as a page with images and curves",
        "view": "an episode in the rerun viewer, its source beside it",
    },
    "Convert": {
        "convert": "LeRobot datasets, HDF5 files, recordings into what GR00T trains on",
        "validate": "whether a dataset is what GR00T and LeRobot expect",
        "robots": "the robots that ship; `robots new` drafts a file for your own",
        "maps": "the maps that ship, from robot to robot; `maps show` draws one",
    },
    "Train": {
        "finetune": "GR00T on one or more datasets",
        "evaluate": "checkpoints on held-out episodes",
        "serve": "a checkpoint, by GR00T's server or in a robot's own joints",
        "rollout": "a policy or a dataset in a simulator; counts successes",
        "groot-view": "a dataset for NVIDIA's launcher: one release, one tag",
    },
    "Share": {
        "upload": "a dataset or a checkpoint to the Hugging Face Hub",
    },
    "All at once": {
        "pipeline": "convert, finetune, evaluate and upload as one file describes",
    },
    "This machine": {
        "doctor": "installed versions, GPUs, and what auto chooses",
    },
}
EXAMPLES = (
    "millrace inspect hf://lerobot/aloha_sim_transfer_cube_human",
    "millrace convert data/aloha out/aloha_gr1 --map aloha_to_gr1_rescaled",
    "millrace validate out/aloha_gr1",
    f"millrace finetune out/aloha_gr1 --base-model-path {RELEASES[0].base_model}",
)
WIDTH = 12


def list_overview() -> list[str]:
    """The overview, line by line, each of at most 80 columns."""
    lines = ["usage: millrace COMMAND ...", "", INTRODUCTION]
    for step, commands in STEPS.items():
        lines += ["", step, *(f"  {name:{WIDTH}}{text}" for name, text in commands.items())]
    lines += ["", "Examples", *(f"  {example}" for example in EXAMPLES)]
    return [*lines, "", "`millrace COMMAND --help` lists flags, `millrace --version` prints the version."]
