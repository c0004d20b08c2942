"""A pipeline of the tiny model, run once a session: two episodes for training, one held out, two checkpoints."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tiny import TINY_MODEL, run_python, write_base

from conftest import IMAGE_SIZE, convert_here
from support.synthetic import write_dataset

PIPELINE = f"""
convert:
  out: out/gr1
  local: true
  recipe:
    image_size: {IMAGE_SIZE}
    sources:
      - {{path: source, map: aloha_to_gr1, holdout: 1}}
finetune:
  base-model-path: base
  output_dir: run
  import_module: {TINY_MODEL}
  cpu: true
  num_gpus: 0
  max_steps: 2
  save_steps: 1
  global_batch_size: 4
  dataloader_num_workers: 0
  shard_size: 8
  num_shards_per_epoch: 64
  logging_steps: 1
evaluate:
  import_module: {TINY_MODEL}
  cpu: true
  num_gpus: 0
  plots: plots
"""


@dataclass(frozen=True)
class TinyRun:
    """Where it lies: aloha.yaml, out/gr1, out/gr1_heldout, base, and run."""

    folder: Path

    @property
    def heldout(self) -> Path:
        return self.folder / "out/gr1_heldout"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "run/checkpoint-2"

    @property
    def first_output(self) -> str:
        """What the pipeline printed."""
        return (self.folder / "first_output.txt").read_text()

    def pipeline(self) -> "subprocess.CompletedProcess[str]":
        return run_python("-m", "millrace", "pipeline", self.folder / "aloha.yaml", timeout=1100)


def tiny_run(base_folder: Path) -> TinyRun:
    """The run in a session's folder, made by whoever asks first."""
    run = TinyRun(base_folder / "tiny_run")
    if not (run.folder / "first_output.txt").exists():
        write_dataset(run.folder / "source", lengths=(150, 150, 150))  # at 50 Hz
        convert_here(run.folder / "source", run.folder / "for_base", episodes="0")
        write_base(run.folder / "for_base/modality_config.py", run.folder / "base")
        (run.folder / "aloha.yaml").write_text(PIPELINE)
        done = run.pipeline()
        assert done.returncode == 0, done.stderr
        (run.folder / "first_output.txt").write_text(done.stdout)
    return run
