"""`millrace pipeline` and `millrace evaluate` with GR00T's own policy, on a tiny model."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny import TINY_MODEL, WHY_NOT, run_python
from tiny_run import TinyRun, tiny_run

from conftest import files_of
from millrace.train.scores import Evaluation

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

GROUPS = ("left_arm", "left_hand", "right_arm", "right_hand", "waist")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory.getbasetemp())


def evaluate(run: TinyRun, *arguments: object) -> Any:
    own = ("--cpu", "--import-module", TINY_MODEL)
    return run_python("-m", "millrace", "evaluate", *arguments, *own, cwd=run.folder)


def read(path: Path) -> Evaluation:
    return Evaluation.model_validate_json(path.read_bytes())


def steps_told(output: str) -> list[str]:
    steps = [line for line in output.splitlines() if line.startswith(("convert:", "finetune:", "evaluate:"))]
    return [line for line in steps if ": finished in " not in line]


def test_a_pipeline_ends_with_a_score_of_each_checkpoint(run: TinyRun) -> None:
    folder = run.folder
    assert steps_told(run.first_output) == [
        f"convert: {folder}/source into {folder}/out/gr1, {folder}/out/gr1_heldout",
        f"finetune: {folder}/base on {folder}/out/gr1, 2 steps into {folder}/run",
        f"evaluate: {folder}/run on {folder}/out/gr1_heldout into {folder}/run/evaluation.json",
    ]
    found = read(folder / "run/evaluation.json")
    assert [Path(scored.checkpoint).name for scored in found.checkpoints] == ["checkpoint-1", "checkpoint-2"]
    assert found.best in {scored.checkpoint for scored in found.checkpoints}
    assert f"best: {found.best}" in run.first_output.splitlines()
    for scored in found.checkpoints:
        assert scored.embodiment_tag == "new_embodiment"
        assert tuple(scored.groups) == GROUPS
        assert [(episode.episode, episode.num_steps) for episode in scored.episodes] == [(0, 60)]
        assert math.isfinite(scored.total.mse)
        assert 0 < scored.total.mae < 10
    for number in (1, 2):
        assert (folder / f"plots/run_checkpoint-{number}/episode_000000.png").stat().st_size > 10_000


def test_the_same_pipeline_again_does_nothing_again(run: TinyRun) -> None:
    log = run.folder / "run/train_log.jsonl"
    before, dataset = log.read_bytes(), files_of(run.folder / "out/gr1")
    done = run.pipeline()
    assert done.returncode == 0, done.stderr
    looks, *skipped = steps_told(done.stdout)
    assert looks == steps_told(run.first_output)[0]
    assert "out/gr1 is finished already: nothing to do" in done.stdout + done.stderr
    assert [line.split(": ")[:2] for line in skipped] == [
        [name, "done before, skipped"] for name in ("finetune", "evaluate")
    ]
    assert log.read_bytes() == before
    assert files_of(run.folder / "out/gr1") == dataset


@pytest.mark.parametrize("horizon", [16, 5])
def test_errors_are_those_of_groots_own_evaluation(run: TinyRun, horizon: int) -> None:
    script = Path(__file__).with_name("upstream_open_loop.py")
    done = run_python(script, TINY_MODEL, run.checkpoint, run.heldout, horizon)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"] == pytest.approx(found["theirs"], rel=1e-5)


def test_two_ray_workers_find_what_one_process_finds(run: TinyRun) -> None:
    report = run.folder / "by_ray.json"
    done = evaluate(run, run.folder / "run", run.heldout, "--num-gpus", 2, "--json", report)
    assert done.returncode == 0, done.stderr
    alone, by_ray = read(run.folder / "run/evaluation.json"), read(report)
    assert by_ray.best == alone.best
    for one, other in zip(alone.checkpoints, by_ray.checkpoints, strict=True):
        for name, score in one.groups.items():
            found = other.groups[name]
            assert (found.mse, found.mae, found.range_mse) == pytest.approx((score.mse, score.mae, score.range_mse))
            assert list(found.joints) == list(score.joints)


def test_the_terminal_shows_none_of_the_libraries_chatter(run: TinyRun) -> None:
    done = evaluate(run, run.checkpoint, run.heldout, "--num-gpus", 0)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == str(run.checkpoint)
    assert "1 episode, 60 steps, 16 of each chunk; units of the data, squared for MSE" in done.stdout


def test_its_own_training_episodes_and_its_base_models_tag_are_remarked_on(run: TinyRun) -> None:
    done = evaluate(run, run.checkpoint, run.folder / "out/gr1", "--num-gpus", 0, "--embodiment-tag", "GR1")
    assert done.returncode == 0, done.stderr
    first, second = done.stderr.splitlines()
    assert "was finetuned as NEW_EMBODIMENT: under GR1 it acts by the config, the statistics" in first
    assert second.endswith(f"was trained on {run.folder / 'out/gr1'}: this tells how well it remembers")
    assert "left_arm" in done.stdout
    assert "right_arm" not in done.stdout  # the base model's GR1 has one arm


def test_nobody_evaluates_on_a_cpu_unasked(run: TinyRun) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPUs")
    own = ("--num-gpus", 0, "--import-module", TINY_MODEL)
    done = run_python("-m", "millrace", "evaluate", run.checkpoint, run.heldout, *own)
    assert done.returncode == 2
    assert "sees no GPU here, for cuda. For a small model: evaluate --cpu" in done.stderr.splitlines()[-1]


def test_a_model_type_that_nobody_has_imported_is_an_error(run: TinyRun) -> None:
    done = run_python("-m", "millrace", "evaluate", run.checkpoint, run.heldout, "--cpu", "--num-gpus", 0)
    assert done.returncode == 2
    assert "checkpoint-2 cannot be loaded: " in done.stderr
    assert "--import-module FILE.py" in done.stderr
    assert len(done.stderr.splitlines()) == 1
