"""Sections `validate` and `rollout` of a pipeline: what stops it, what drives, and what is done once."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from conftest import IMAGE_SIZE, REPOSITORY, convert_here, video_path
from millrace import cli
from millrace.commands.pipeline_file import PipelineFile
from millrace.commands.pipeline_results import choose_checkpoint
from millrace.commands.pipeline_steps import read_steps
from millrace.engine.errors import RecipeProblems
from millrace.train.scores import Evaluation
from millrace.train.settings import FinetuneSettings
from support.recordings_with_seeds import write_recording

ADAPTER = REPOSITORY / "tests/support/point_robot.py"
CONVERT = f"""
convert:
  out: out/gr1
  local: true
  recipe:
    image_size: {IMAGE_SIZE}
    sources: [{{path: recording, map: aloha_to_gr1_rescaled}}]
"""
REPLAY = f"""
rollout:
  env: point
  adapter: {ADAPTER}
  policy: replay:out/gr1
  json: replay.json
"""
TRAINED = f"""
finetune: {{datasets: out/gr1, base_model_path: base, output_dir: run, max_steps: 20}}
evaluate: {{dataset: out/gr1_heldout}}
rollout: {{env: point, adapter: {ADAPTER}, instruction: Go}}
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recording") / "recording")


@pytest.fixture
def write(recording: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A pipeline's file beside the folder `recording`."""
    (tmp_path / "recording").symlink_to(recording)

    def write(text: str) -> Path:
        path = tmp_path / "point.yaml"
        path.write_text(text.lstrip("\n"))
        return path

    return write


def run(path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """The exit code, and what is said of each step that is done or skipped."""
    code = cli.main(["pipeline", str(path)])
    lines = [line.split(": ") for line in capfd.readouterr().out.splitlines()]
    steps = ("convert", "validate", "finetune", "evaluate", "rollout", "upload")
    said = {name: rest[0].split(" in ")[0] for name, *rest in lines if name in steps}
    return code, said


def summary(text: str, write: Any) -> str:
    """What the rollout of a file does."""
    return next(step.summary for step in read_steps(PipelineFile(write(text))) if step.name == "rollout")


def problems(path: Path) -> list[str]:
    with pytest.raises(RecipeProblems) as caught:
        read_steps(PipelineFile(path))
    return [line.removeprefix(f"{path}:") for line in caught.value.lines]


def test_a_dataset_is_converted_judged_and_played_back_once(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(f"{CONVERT}validate:\n{REPLAY}")
    assert run(path, capfd) == (0, {"convert": "finished", "validate": "finished", "rollout": "finished"})
    found = json.loads((tmp_path / "replay.json").read_text())
    assert [one["is_success"] for one in found["episodes"]] == [True, False, True]
    skipped = {"convert": "finished", "validate": "done before, skipped", "rollout": "done before, skipped"}
    assert run(path, capfd) == (0, skipped)
    # Neither another check nor another rollout concerns the steps around it.
    path = write(f"{CONVERT}validate: {{deep: true}}\n{REPLAY}")
    assert run(path, capfd) == (0, {**skipped, "validate": "finished"})
    path = write(f"{CONVERT}validate: {{deep: true}}\n{REPLAY}  between: hold\n")
    assert run(path, capfd) == (0, {**skipped, "rollout": "finished"})
    (tmp_path / "replay.json").unlink()
    assert run(path, capfd) == (0, {**skipped, "rollout": "finished"})


def test_an_invalid_dataset_stops_the_pipeline(
    write: Any, recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    convert_here(recording, tmp_path / "out/gr1", map="aloha_to_gr1_rescaled")
    path = write(f"validate: {{datasets: out/gr1}}\n{REPLAY}")
    shutil.copy(video_path(tmp_path / "out/gr1", 0, "ego_view"), tmp_path / "kept.mp4")
    video_path(tmp_path / "out/gr1", 0, "ego_view").unlink()
    code, said = run(path, capfd)
    assert (code, list(said)) == (1, ["validate"])
    assert not (tmp_path / "replay.json").exists()
    shutil.copy(tmp_path / "kept.mp4", video_path(tmp_path / "out/gr1", 0, "ego_view"))
    assert run(path, capfd) == (0, {"validate": "finished", "rollout": "finished"})


def test_every_layout_is_judged_by_what_reads_it(write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`gr00t` says nothing of LeRobot v3.0, which GR00T does not read."""
    text = CONVERT.replace("  local: true", "  local: true\n  layout: v2.1,v3.0")
    text = text.replace("}]", ', holdout: "0:1"}]').replace("    image_size", "    horizon: 4\n    image_size")
    assert cli.main(["pipeline", str(write(f"{text}validate: {{gr00t: n1.6}}\n"))]) == 0
    said = capfd.readouterr().out
    names = ("gr1", "gr1_heldout", "gr1_v30", "gr1_heldout_v30")
    assert [f"{tmp_path}/out/{name}:" in said.splitlines() for name in names] == [True] * 4
    assert said.count("valid: ") == 4
    # One that another program made has no manifest, and not the files that GR00T reads.
    (tmp_path / "out/gr1_v30/millrace.json").unlink()
    path = write("validate: {datasets: out/gr1_v30}\n")
    assert run(path, capfd) == (0, {"validate": "finished"})
    assert run(path, capfd) == (0, {"validate": "done before, skipped"})


def test_the_best_checkpoint_drives_where_they_are_scored(write: Any, tmp_path: Path) -> None:
    outcome = f"in point into {tmp_path}/run/rollout.json"
    assert summary(TRAINED, write) == f"the best checkpoint of {tmp_path}/run {outcome}"
    last = TRAINED.replace("instruction: Go", "instruction: Go, checkpoint: last")
    assert summary(last, write) == f"the last checkpoint of {tmp_path}/run {outcome}"
    unscored = TRAINED.replace("evaluate: {dataset: out/gr1_heldout}\n", "")
    assert summary(unscored, write) == f"the last checkpoint of {tmp_path}/run {outcome}"


@pytest.mark.parametrize(
    ("policy", "resolved"),
    [
        ("replay:out/gr1", "replay:{folder}/out/gr1"),
        ("127.0.0.1:5555", "127.0.0.1:5555"),
        ("runs/a/checkpoint-5", "{folder}/runs/a/checkpoint-5"),
    ],
)
def test_a_policy_may_be_named(write: Any, tmp_path: Path, policy: str, resolved: str) -> None:
    text = f"rollout: {{env: point, adapter: {ADAPTER}, instruction: Go, json: a.json, policy: '{policy}'}}\n"
    assert summary(text, write) == f"{resolved.format(folder=tmp_path)} in point into {tmp_path}/a.json"


def test_the_best_is_what_the_evaluation_says_and_else_the_newest(tmp_path: Path) -> None:
    run = FinetuneSettings(datasets=(tmp_path,), base_model_path="base", output_dir=tmp_path / "run")
    for step in (10, 20):
        (tmp_path / f"run/checkpoint-{step}").mkdir(parents=True)
        (tmp_path / f"run/checkpoint-{step}/COMPLETE").touch()
    best = str(tmp_path / "run/checkpoint-10")
    report = tmp_path / "evaluation.json"
    report.write_text(Evaluation(dataset="d", horizon=16, best=best, checkpoints=()).model_dump_json())
    assert choose_checkpoint(run, report) == Path(best)
    assert choose_checkpoint(run, None) == tmp_path / "run/checkpoint-20"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("validate:\n", "datasets is missing: there is no section convert that makes some"),
        ("rollout:\n", "rollout holds keys, such as env"),
        ("rollout: {env: point}\n", "policy is missing: there is no section finetune that makes one"),
        ("rollout: {env: point, policy: 'a:1'}\n", "instruction is missing: a policy is told what to do"),
        ("rollout: {env: point, policy: 'replay:a'}\n", "json is missing: the file by which it is known"),
        (f"{TRAINED.replace('Go', 'Go, episodes: 0')}", "episodes: 0: at least one episode is rolled out"),
        (f"{TRAINED.replace('Go', 'Go, policy: a, checkpoint: last')}", "policy names another: give one of them"),
        (f"{TRAINED.replace('instruction: Go', '')}", "instruction is missing"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(write: Any, text: str, told: str) -> None:
    assert [line for line in problems(write(text)) if told in line]


def test_what_a_rollout_lacks_is_told_before_the_first_step(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if find_spec("gr00t") is not None:
        pytest.skip("needs an environment without GR00T")
    text = TRAINED.partition("rollout:")[0] + "rollout: {env: other/Task-v0, instruction: Go, import_module: mine.py}\n"
    assert cli.main(["pipeline", str(write(CONVERT + text.replace("datasets: out/gr1, ", "")))]) == 1
    told = capfd.readouterr().err
    assert "rollout: no adapter ships for 'other/Task-v0'. Known: gym_aloha/...; " in told
    assert "rollout: GR00T cannot be imported: no gr00t" in told
    assert f"rollout: --import-module {tmp_path}/mine.py: there is no such file" in told
    assert not (tmp_path / "out").exists()
