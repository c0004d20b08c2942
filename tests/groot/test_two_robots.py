"""Two robots in one run, each with its tag and its modality config: GR00T's own parts, with a tiny backbone."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY_MODEL, WHY_NOT, finetune, run_python, write_base

from conftest import convert_here, read_meta
from millrace.train.train_progress import Evaluated
from support.synthetic import write_dataset
from support.train_log import read_events

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

TAGS = ("--tags", "gr1", "GR1", "--weights", "gr1", 0.6, "aloha", 0.4)
# Of N1.6 (gr00t/model/gr00t_n1d6/processing_gr00t_n1d6.py).
PROJECTORS = {"new_embodiment": 10, "gr1": 20}
CHANGED = 1e-6  # weight decay alone changes weights less
SMALL = ("--max-steps", 8, "--global-batch-size", 4, "--num-gpus", 0, "--dataloader-num-workers", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets `gr1` and `aloha` and `aloha_heldout`, whose configs register the same tag, and the model `base`."""
    folder = tmp_path_factory.mktemp("robots")
    write_dataset(folder / "source", lengths=(150, 140, 130))  # at 50 Hz
    convert_here(folder / "source", folder / "gr1", episodes="0")
    convert_here(folder / "source", folder / "aloha", episodes="1", robot="aloha")
    convert_here(folder / "source", folder / "aloha_heldout", episodes="2", robot="aloha")
    write_base(folder / "gr1/modality_config.py", folder / "base")
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> "subprocess.CompletedProcess[str]":
    measured = ("--eval-dataset", folder / "aloha_heldout", "--eval-samples", 8, "--eval-episodes", 1)
    command = finetune(folder / "gr1", folder / "base", folder / "run", folder / "aloha", *TAGS, *SMALL, *measured)
    done = run_python(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


def test_each_robot_has_its_config_and_its_statistics(folder: Path, trained: object) -> None:
    checkpoint = folder / "run/checkpoint-8"
    configs = json.loads((checkpoint / "processor_config.json").read_text())["processor_kwargs"]["modality_configs"]
    statistics = json.loads((checkpoint / "statistics.json").read_text())
    for tag, dataset in (("gr1", folder / "gr1"), ("new_embodiment", folder / "aloha")):
        groups = read_meta(dataset, "modality.json")["state"]
        assert set(configs[tag]["state"]["modality_keys"]) <= set(groups)
        name = configs[tag]["state"]["modality_keys"][0]
        where = groups[name]
        own = read_meta(dataset, "stats.json")["observation.state"]["mean"][where["start"] : where["end"]]
        np.testing.assert_allclose(statistics[tag]["state"][name]["mean"], own, rtol=1e-6)


def test_both_are_trained_and_the_held_out_one_is_measured(folder: Path, trained: object) -> None:
    """Each tag has a projector of its own; those of other tags stay as they were."""
    from safetensors.torch import load_file

    before, after = (load_file(folder / name / "model.safetensors") for name in ("base", "run/checkpoint-8"))
    weights = "action_head.state_encoder.layer1.W"
    changes = (after[weights] - before[weights]).abs().flatten(1).amax(1)
    assert (changes > CHANGED).nonzero().flatten().tolist() == [PROJECTORS["new_embodiment"], PROJECTORS["gr1"]]
    (found,) = [event.heldout for event in read_events(folder / "run") if isinstance(event, Evaluated)]
    assert set(found.group_mae) == set(read_meta(folder / "aloha", "modality.json")["action"])


def test_the_checkpoint_acts_as_either_robot(folder: Path, trained: object) -> None:
    flags = ("--cpu", "--num-gpus", 0, "--import-module", TINY_MODEL)
    for dataset, tag in (("aloha_heldout", "NEW_EMBODIMENT"), ("gr1", "GR1")):
        run = ("-m", "millrace", "evaluate", folder / "run/checkpoint-8", folder / dataset, "--embodiment-tag", tag)
        done = run_python(*run, *flags, "--json", folder / f"{tag}.json")
        assert done.returncode == 0, done.stderr


def test_other_tags_in_its_folder_are_another_run(folder: Path, trained: object) -> None:
    command = finetune(folder / "gr1", folder / "base", folder / "run", folder / "aloha", "--mix", 0.6, 0.4, *SMALL)
    done = run_python(*command, "--modality-config-path", folder / "gr1/modality_config.py", cwd=folder)
    assert done.returncode != 0
    assert "embodiment tag GR1, NEW_EMBODIMENT, not NEW_EMBODIMENT" in done.stderr
