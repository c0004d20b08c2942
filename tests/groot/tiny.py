"""The tiny base model of ../shared/accept as a checkpoint folder, and `millrace` as a user runs it on that.

As a program (`tiny.py MODALITY_CONFIG OUT`) it makes the folder, in a process of its own: GR00T registers modality
configs once per process.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent.parent
ACCEPT = REPOSITORY.parent / "shared/accept"
TINY_MODEL = ACCEPT / "tiny_model.py"
# Statistics that the base model has of the joints of GR1's left arm.
RANGE = {"min": -9.0, "max": 9.0, "mean": 0.0, "std": 5.0, "q01": -8.0, "q99": 8.0}
PRETRAINED = {name: [value] * 7 for name, value in RANGE.items()}
WHY_NOT = (
    ("" if find_spec("gr00t") else "NOT TESTED: gr00t is not importable")
    or ("" if "GR00T_SRC" in os.environ else "NOT TESTED: set GR00T_SRC to the n1.6-release source")
    or ("" if TINY_MODEL.is_file() else f"NOT TESTED: no {TINY_MODEL}")
)


def run_python(*arguments: object, timeout: float = 600, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, **options)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "ignore", *map(str, arguments)]


def finetune(dataset: Path, base: Path, out: Path, *flags: object) -> tuple[object, ...]:
    """`millrace finetune` of the tiny model on small shards."""
    small = ("--shard-size", 8, "--num-shards-per-epoch", 64, "--logging-steps", 1, "--cpu")
    model = ("--base-model-path", base, "--import-module", TINY_MODEL, "--output-dir", out)
    return ("-m", "millrace", "finetune", dataset, *model, *small, *flags)


def write_base(modality_config: Path, out: Path) -> None:
    """Make the base model's folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ACCEPT), os.environ.get("PYTHONPATH", "")])}
    made = run_python(Path(__file__), modality_config, out, env=environment)
    assert made.returncode == 0, made.stderr


def _main(modality_config: str, out: Path) -> None:
    import groot_env
    import tiny_model
    import torch
    from gr00t.data.types import ModalityConfig

    torch.manual_seed(0)
    # GR1's projector is number 20.
    model = tiny_model.TinyGr00t(tiny_model.TinyCfg(max_num_embodiments=32))
    model.save_pretrained(out)
    own = groot_env.load_modality(modality_config)
    # A base model that has learnt GR1 as no dataset here has it: one arm, and absolute actions.
    arm = {name: ModalityConfig(delta_indices=[0], modality_keys=["left_arm"]) for name in ("state", "action")}
    learnt = {"new_embodiment": own, "gr1": {**own, **arm}}
    limits = {"max_state_dim": 64, "max_action_dim": 64, "max_action_horizon": 16}
    groot_env.make_processor(own, modality_configs=learnt, **limits).save_pretrained(out)
    groups = {"left_arm": PRETRAINED}
    (out / "statistics.json").write_text(json.dumps({"gr1": {"state": groups, "action": groups}}))


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # a module of the tests must not stand before a library of its name
    _main(sys.argv[1], Path(sys.argv[2]))
