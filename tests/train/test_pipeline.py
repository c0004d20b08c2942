"""A pipeline's file is checked as a whole; its steps are done once, and again where what they work on has changed."""

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import millrace
from conftest import IMAGE_SIZE, LENGTHS, LOCAL, REPOSITORY, convert_here, data_path, read_meta, recipe_for, video_path
from millrace import cli
from millrace.commands.pipeline_file import PipelineFile
from millrace.commands.pipeline_steps import read_steps
from millrace.engine.convert import convert
from millrace.engine.errors import RecipeProblems
from millrace.train.errors import SettingsError, TrainError
from millrace.train.pipeline import Step, review_steps, run_steps
from support.synthetic import write_dataset


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A pipeline's file beside the folder data/, in which `aloha` lies."""
    write_dataset(tmp_path / "data/aloha", lengths=LENGTHS)

    def write(text: str) -> Path:
        path = tmp_path / "aloha.yaml"
        path.write_text(text.lstrip("\n"))
        return path

    return write


CONVERT = f"""
convert:
  out: out/gr1
  local: true
  recipe:
    image_size: {IMAGE_SIZE}
    sources:
      - path: data/aloha
        map: aloha_to_gr1
"""
FULL = f"""{CONVERT}
        holdout: 1
finetune:
  base-model-path: nvidia/GR00T-N1.6-3B
  output_dir: checkpoints/aloha
  max_steps: 500
  save-steps: 250
  mix: 1
evaluate:
  horizon: 8
  episodes: 0
upload:
  repo: my-org/aloha
  private: true
"""


def problems(path: Path) -> list[str]:
    """What is told of a file, without its path."""
    with pytest.raises(RecipeProblems) as caught:
        read_steps(PipelineFile(path))
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{path}:") for line in caught.value.lines]


def test_the_release_of_the_command_is_for_sections_that_name_none(write: Any, tmp_path: Path) -> None:
    """Without an installed GR00T each step says which one it lacks."""
    named = FULL.replace("  horizon: 8\n", "  horizon: 8\n  gr00t: n1.6\n  embodiment_tag: GR1\n")
    found = {
        step.name: " ".join(step.judge())
        for step in read_steps(PipelineFile(write(named)), "n1.7")
        if step.name in ("finetune", "evaluate")
    }
    if find_spec("gr00t") is None:
        assert "GR00T N1.7 cannot be imported: no gr00t" in found["finetune"]
        assert "GR00T N1.6 cannot be imported: no gr00t" in found["evaluate"]
    (told,) = problems(write(FULL.replace("  horizon: 8\n", "  gr00t: n1.8\n")))
    assert "n1.8" in told


def test_each_section_gets_from_the_others_what_it_does_not_say(write: Any, tmp_path: Path) -> None:
    steps = read_steps(PipelineFile(write(FULL)))
    run, data = tmp_path / "checkpoints/aloha", tmp_path / "out/gr1"
    assert {step.name: step.summary for step in steps} == {
        "convert": f"{tmp_path}/data/aloha into {data}, {data}_heldout",
        "finetune": f"nvidia/GR00T-N1.6-3B on {data}, 500 steps into {run}",
        "evaluate": f"{run} on {data}_heldout into {run}/evaluation.json",
        "upload": f"model the best checkpoint of {run} to my-org/aloha",
    }


def test_v3_is_made_beside_what_is_trained_on(write: Any, tmp_path: Path) -> None:
    text = FULL.replace("    image_size", "    horizon: 4\n    image_size", 1)
    steps = read_steps(PipelineFile(write(text.replace("  local: true", "  local: true\n  layout: v2.1,v3.0", 1))))
    data = tmp_path / "out/gr1"
    assert steps[0].summary.endswith(f" into {data}, {data}_heldout, {data}_v30, {data}_heldout_v30")
    assert f" on {data}, 500 steps" in steps[1].summary
    assert f" on {data}_heldout into " in steps[2].summary
    assert steps[0].run() == 0
    assert steps[0].made() is not None
    assert read_meta(data.with_name("gr1_heldout_v30"), "info.json")["codebase_version"] == "v3.0"
    (data.with_name("gr1_v30") / "meta/info.json").unlink()
    assert steps[0].made() is None


def test_v3_alone_is_nothing_to_train_on(write: Any) -> None:
    told = problems(write(FULL.replace("  local: true", "  local: true\n  layout: v3.0", 1)))
    assert [line.partition(": ")[2] for line in told] == [
        "datasets is missing: GR00T trains on LeRobot v2.1, which convert does not make (layout: v2.1,v3.0)",
        "dataset is missing: convert holds no episodes out (holdout: 0.05), or makes no LeRobot v2.1",
    ]


def test_all_that_is_wrong_is_told_at_once_each_with_its_line(write: Any) -> None:
    told = problems(
        write("""
convert:
  out: out/gr1
  recipe:
    image_sise: 64
    sources: [{path: data/aloha, map: aloha_to_gr1}]
finetune:
  base_model_path: b
  max_step: 3
  learning-rate: fast
  num_gpus: -1
evaluat:
  horizon: 3
upload:
  private: perhaps
""")
    )
    assert told[0].startswith("4: 'image_sise' is not a field of a recipe. Did you mean 'image_size'?")
    assert told[1].startswith("8: 'max_step' is not a key of finetune. Did you mean 'max_steps'?")
    assert told[2].startswith("9: learning-rate: Input should be a valid number")
    assert told[3].startswith("11: 'evaluat' is not a section of a pipeline. Did you mean 'evaluate'? Known: convert,")
    assert told[4] == "13: repo is missing"
    assert told[5].startswith("14: private: Input should be a valid boolean")
    assert len(told) == 6


def test_what_a_section_as_a_whole_reports_is_cited_at_the_key_that_it_names(write: Any) -> None:
    workers = problems(
        write("""
convert:
  out: out/gr1
  gpu-share: 0.5
  workers: 0
  recipe: {sources: [{path: data/aloha, map: aloha_to_gr1}]}
finetune:
  base_model_path: b
  datasets: d
  mix: [1, 2]
""")
    )
    assert [line.partition(", not ")[0] for line in workers] == [
        "4: workers takes at least 1 core",
        "9: mix: [1.0, 2.0]: 2 shares for 1 datasets",
    ]
    (holdout,) = problems(
        write("""
convert:
  recipe:
    sources: [{path: data/aloha, map: aloha_to_gr1}]
  out: out/gr1
  holdout: 5
""")
    )
    assert holdout.startswith("5: holdout: a share of the episodes lies between 0 and 1")
    path = write("convert:\n  recipe: mine.yaml\n  out: out/gr1\n  holdout: 5\n")
    (path.parent / "mine.yaml").write_text("sources: [{path: data/aloha, map: aloha_to_gr1}]\n")
    assert problems(path) == [holdout.replace("5:", "4:", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "1: there is nothing to do; sections are convert, validate, finetune, evaluate, rollout, upload"),
        ("finetune: 3", "1: finetune holds keys, such as base_model_path"),
        ("convert: {out: a}", "1: recipe is missing"),
        ("convert: {out: a, recipe: {}, layout: 2.2}", "1: layout: 2.2: no layout '2.2'. Known: v2.1, v3.0"),
        ("convert: {out: 's3://b/x', recipe: {}}", "1: the steps after it read a folder, not s3://b/x"),
        ("convert: {out: a, recipe: {}, data_file_mb: 0}", "1: data_file_mb: 0: must be at least 1"),
        ("upload: {repo: a/b, kind: model, folder: f, with_v30: true}", "1: with_v30: a checkpoint has no layout"),
        ("finetune: {base_model_path: b, datasets: d, mix: [1, 2]}", "1: mix: [1.0, 2.0]: 2 shares for 1 datasets"),
        ("finetune: {base_model_path: b}", "1: no dataset is named"),
        ("finetune: {base_model_path: b, datasets: d, overwrite: true}", "1: 'overwrite' is not a key of finetune."),
        ("finetune: {base_model_path: b, base-model-path: c}", "1: base-model-path is given twice"),
        ("evaluate: {dataset: d, json: j}", "1: checkpoints is missing: there is no section finetune"),
        ("evaluate: {dataset: d, checkpoints: c}", "1: json is missing"),
        ("evaluate: {checkpoints: c, json: j}", "1: dataset is missing: convert holds no episodes out"),
        ("evaluate: {dataset: d, checkpoints: c, json: j, horizon: 0}", "1: horizon: 0: at least one step"),
        ("upload: {folder: f, repo: nobody}", "1: datasets and models on the Hub are named org/name, not 'nobody'"),
        ("upload: {folder: f, repo: a/b, checkpoint: last}", "1: checkpoint chooses one of finetune's; folder names"),
        ("finetune: {base_model_path: b, datasets: d}\nupload: {repo: a/b, checkpoint: best}", "2: best is known only"),
        ("upload: {repo: a/b, folder: f, checkpoint: second}", "1: checkpoint: Input should be 'best' or 'last'"),
        ("upload: {repo: a/b}", "1: folder is missing: there is no section finetune that makes one"),
        ("convert: {recipe: no.yaml, out: o}", "no.yaml: No such file or directory"),
        ("finetune: {max_steps: 1}\nfinetune: {}", "'finetune' is named twice (first on line 1)"),
    ],
)
def test_a_file_that_makes_no_sense_is_an_error(write: Any, text: str, message: str) -> None:
    with pytest.raises(millrace.MillraceError, match=re.escape(message)) as caught:
        read_steps(PipelineFile(write(text)))
    assert caught.value.exit_code == 2


def test_the_guides_held_out_episodes_may_be_a_share(write: Any, tmp_path: Path) -> None:
    text = f"{CONVERT}  holdout: 0.34\nevaluate: {{checkpoints: c, json: scores.json}}\n"
    steps = read_steps(PipelineFile(write(text)))
    assert steps[1].summary == f"{tmp_path}/c on {tmp_path}/out/gr1_heldout into {tmp_path}/scores.json"


def test_a_recipe_in_its_own_file_is_the_same_recipe(write: Any, tmp_path: Path) -> None:
    inline = read_steps(PipelineFile(write(CONVERT)))
    recipe = CONVERT.partition("recipe:\n")[2].replace("data/aloha", "../data/aloha")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/aloha.yaml").write_text(recipe)
    text = "convert: {recipe: recipes/aloha.yaml, out: out/gr1, local: true}"
    (named,) = read_steps(PipelineFile(write(text)))
    assert named.summary.replace("recipes/../", "") == inline[0].summary


def told_by(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = cli.main(["pipeline", *arguments])
    lines = capfd.readouterr().out.splitlines()
    steps = ("convert:", "finetune:", "evaluate:", "upload:")
    return code, [line for line in lines if line.startswith(steps) and ": finished in " not in line]


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_later_steps_are_judged_before_the_first(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    """A conversion may take a day."""
    text = FULL.replace("nvidia/GR00T-N1.6-3B", "/no/such/model").partition("upload:")[0]
    text = text.replace("  horizon: 8", "  horizon: 8\n  cpu: true\n  import_module: mine.py\n  plots: plots")
    path = write(text.replace("  mix: 1", "  mix: 1\n  global_batch_size: 7\n  num_gpus: 2\n  cpu: true"))
    assert cli.main(["pipeline", str(path), *flags]) == 1
    told = capfd.readouterr().err
    assert "finetune: error    base-model  there is no folder /no/such/model" in told
    assert "finetune: error    batch  --global-batch-size 7 is not a multiple of 2 workers" in told
    assert f"evaluate: --import-module {tmp_path}/mine.py: there is no such file" in told
    assert not (tmp_path / "out").exists()


def test_a_pipeline_may_name_what_is_there_already(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(f"{CONVERT}evaluate: {{checkpoints: mine, dataset: theirs, json: scores.json, cpu: true}}\n")
    assert cli.main(["pipeline", str(path), "--dry-run"]) == 1
    told = capfd.readouterr().err.splitlines()
    assert [line for line in told if "mine" in line]
    assert [line for line in told if "theirs" in line]


def test_what_is_done_is_skipped_and_what_has_changed_is_not(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, out = write(CONVERT), tmp_path / "out/gr1"
    what = f"{tmp_path}/data/aloha into {out}"
    assert told_by([str(path), "--dry-run"], capfd) == (0, [f"convert: to do: {what}"])
    assert not out.exists()
    assert told_by([str(path)], capfd) == (0, [f"convert: {what}"])
    assert len(read_meta(out, "episodes.jsonl")) == len(LENGTHS)
    assert told_by([str(path), "--dry-run"], capfd) == (0, [f"convert: done: {what}"])
    assert told_by([str(path)], capfd) == (0, [f"convert: {what}"]), "convert itself looks for changes"
    (out / "meta/info.json").rename(tmp_path / "info.json")
    assert told_by([str(path), "--dry-run"], capfd) == (0, [f"convert: to do: {what}"])
    (tmp_path / "info.json").rename(out / "meta/info.json")
    assert told_by([str(path), "--dry-run"], capfd) == (0, [f"convert: done: {what}"])
    changed = write(CONVERT + "        task: fold it\n        task_all: true\n")
    assert told_by([str(changed), "--dry-run"], capfd) == (0, [f"convert: to do: {what}"])


def test_a_changed_source_or_a_bad_episode_is_not_passed_over(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(CONVERT)
    assert told_by([str(path)], capfd)[0] == 0
    os.utime(data_path(tmp_path / "data/aloha", 1))
    assert cli.main(["pipeline", str(path)]) == 2
    assert "1 of its 3 episodes" in capfd.readouterr().err
    video_path(tmp_path / "data/aloha", 1).unlink()
    bad = CONVERT.replace("out/gr1", "out/rest")
    assert cli.main(["pipeline", str(write(bad))]) == 1
    assert cli.main(["pipeline", str(write(bad.replace("local: true", "local: true\n  skip-bad: true")))]) == 0
    assert len(read_meta(tmp_path / "out/rest", "episodes.jsonl")) == len(LENGTHS) - 1


def test_the_examples_are_pipelines() -> None:
    """Each has all chapters of the ALOHA to GR00T guide."""
    for name, out in (("pipeline.yaml", "checkpoints/aloha"), ("pipeline_on_cpu.yaml", "out/cpu_run")):
        steps = {step.name: step.summary for step in read_steps(PipelineFile(REPOSITORY / "examples" / name))}
        assert list(steps) == ["convert", "validate", "finetune", "evaluate", "rollout", "upload"]
        best = f"the best checkpoint of {REPOSITORY}/examples/../{out}"
        assert steps["rollout"].startswith(f"{best} in gym_aloha/AlohaTransferCube-v0 into ")
        assert steps["upload"].startswith(f"model {best} to ")
    assert steps["convert"].startswith("hf://lerobot/aloha_sim_transfer_cube_human into ")


def test_a_map_of_the_users_own_is_part_of_what_is_done(
    write: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped = REPOSITORY / "embodiments/maps/aloha_to_gr1.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text(shipped.read_text())
    path = write(CONVERT.replace("map: aloha_to_gr1", "map: ./mine.yaml"))
    told_by([str(path)], capfd)
    assert "convert: done: " in told_by([str(path), "--dry-run"], capfd)[1][0]
    mine.write_text(shipped.read_text() + "# another one\n")
    assert "convert: to do: " in told_by([str(path), "--dry-run"], capfd)[1][0]


class Files:
    """Steps that each copy what the one before has made, and add a letter."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done, self.codes, self.stopped = folder, list[str](), dict[str, int](), set[str]()

    def steps(self, *names: str, letter: str = "") -> list[Step]:
        return [self.step(name, before, letter) for before, name in zip(("", *names), names, strict=False)]

    def step(self, name: str, before: str, letter: str) -> Step:
        def run() -> int:
            self.done.append(name)
            if name in self.stopped:
                raise KeyboardInterrupt
            if code := self.codes.get(name, 0):
                return code
            earlier = (self.folder / before).read_text() if before else ""
            (self.folder / name).write_text(earlier + name + letter)
            return 0

        def made() -> str | None:
            return (self.folder / name).read_text() if (self.folder / name).exists() else None

        return Step(name, f"makes {name}", name + letter, run, made)


def test_a_failed_or_stopped_step_is_begun_again_and_no_earlier_one(tmp_path: Path) -> None:
    files, record = Files(tmp_path), tmp_path / "record.json"
    files.codes["b"] = 1
    assert run_steps(files.steps("a", "b", "c"), record, tell=print) == 1
    assert files.done == ["a", "b"]
    files.codes.clear()
    files.stopped.add("c")
    with pytest.raises(KeyboardInterrupt):
        run_steps(files.steps("a", "b", "c"), record, tell=print)
    assert files.done == ["a", "b", "b", "c"]
    files.stopped.clear()
    told: list[str] = []
    assert run_steps(files.steps("a", "b", "c"), record, tell=told.append) == 0
    assert files.done == ["a", "b", "b", "c", "c"]
    assert told[:3] == ["a: done before, skipped: makes a", "b: done before, skipped: makes b", "c: makes c"]
    assert re.fullmatch(r"c: finished in 0\.\d s", told[3])


def test_what_follows_a_changed_step_is_done_again(tmp_path: Path) -> None:
    files, record = Files(tmp_path), tmp_path / "record.json"
    run_steps(files.steps("a", "b", "c"), record, tell=print)
    steps = [*files.steps("a"), *files.steps("a", "b", letter="!")[1:], *files.steps("a", "b", "c")[2:]]
    assert [done for _, done in review_steps(steps, record)] == [True, False, False]
    run_steps(steps, record, tell=print)
    assert files.done == ["a", "b", "c", "b", "c"]
    assert (tmp_path / "c").read_text() == "ab!c"


def test_a_step_that_makes_nothing_is_an_error(tmp_path: Path) -> None:
    step = Step("a", "makes a", "", lambda: 0, lambda: None)
    with pytest.raises(TrainError, match="a ended, but what it should have made is not there: makes a"):
        run_steps([step], tmp_path / "record.json", tell=print)


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"a": 1}')
    with pytest.raises(SettingsError, match=r"record\.json is damaged; delete it"):
        run_steps(Files(tmp_path).steps("a"), tmp_path / "record.json", tell=print)


def test_a_dataset_that_is_named_is_an_input(write: Any, tmp_path: Path) -> None:
    """Made again by another command, it is trained on, evaluated on and played back again."""
    convert_here(tmp_path / "data/aloha", tmp_path / "gr1", horizon=4)
    sections = """
finetune:
  base-model-path: nvidia/GR00T-N1.6-3B
  datasets: gr1
  output_dir: checkpoints/aloha
evaluate:
  dataset: gr1
rollout:
  env: gym_aloha/AlohaTransferCube-v0
  policy: replay:gr1
"""
    steps = read_steps(PipelineFile(write(sections)))
    before = [step.read_inputs() for step in steps]
    assert None not in before
    assert [step.read_inputs() for step in steps] == before
    convert(recipe_for(tmp_path / "data/aloha", fps=10, horizon=4), tmp_path / "gr1", workers=LOCAL, overwrite=True)
    assert not set(before) & {step.read_inputs() for step in steps}


def test_a_step_whose_inputs_changed_is_done_again(tmp_path: Path) -> None:
    read, runs = ["one"], []

    def run() -> int:
        runs.append(read[0])
        return 0

    steps = [Step("train", "", "", run, lambda: "made", read_inputs=lambda: read[0])]
    for read[0] in ("one", "one", "two", "two"):
        run_steps(steps, tmp_path / "done.json", tell=lambda line: None)
    assert runs == ["one", "two"]
