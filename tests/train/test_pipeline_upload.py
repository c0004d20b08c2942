"""A pipeline's last step: what it has made arrives on the Hub, once, and a refused upload repeats nothing before it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import IMAGE_SIZE, LENGTHS, files_of
from millrace.commands.pipeline_file import PipelineFile
from millrace.commands.pipeline_steps import read_steps
from millrace.train.pipeline import run_steps
from millrace.train.scores import Evaluation
from support.hub_client import HubUser, Result
from support.hub_server import HubServer
from support.synthetic import write_dataset

PIPELINE = f"""
convert:
  out: out/gr1
  local: true
  recipe:
    image_size: {IMAGE_SIZE}
    sources:
      - {{path: data/aloha, map: aloha_to_gr1}}
upload:
  folder: out/gr1
  repo: org/aloha-gr1
  private: true
"""
COMMITS = "/commit/"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def user(hub: HubServer, tmp_path: Path) -> HubUser:
    """Somebody with a pipeline in the home folder."""
    write_dataset(tmp_path / "home/data/aloha", lengths=LENGTHS)
    (tmp_path / "home/aloha.yaml").write_text(PIPELINE)
    return HubUser(hub, tmp_path / "home")


def told(done: Result) -> dict[str, str]:
    """What is said of each step before its summary, by the step's name; "" where it is done."""
    steps = [line for line in done.out.splitlines() if line.startswith(("convert: ", "upload: "))]
    lines = [line.split(": ") for line in steps if ": finished in " not in line]
    return {name: rest[0] if len(rest) > 1 else "" for name, *rest in lines}


def arrived(hub: HubServer) -> dict[str, bytes]:
    files = hub.repositories["dataset", "org/aloha-gr1"].files
    return {path: content for path, content in sorted(files.items()) if path != ".gitattributes"}


def test_what_was_converted_is_uploaded_once(hub: HubServer, user: HubUser) -> None:
    done = user.run("pipeline", "aloha.yaml")
    assert done.exit_code == 0, done.err
    assert told(done) == {"convert": "", "upload": ""}
    assert arrived(hub) == files_of(user.home / "out/gr1")
    assert hub.repositories["dataset", "org/aloha-gr1"].private
    num_commits = len(hub.repositories["dataset", "org/aloha-gr1"].commits)
    again = user.run("pipeline", "aloha.yaml")
    assert told(again) == {"convert": "", "upload": "done before, skipped"}
    assert len(hub.repositories["dataset", "org/aloha-gr1"].commits) == num_commits


def test_both_layouts_are_uploaded(hub: HubServer, user: HubUser) -> None:
    path = user.home / "aloha.yaml"
    text = path.read_text().replace("  local: true\n", "  local: true\n  layout: v2.1,v3.0\n")
    path.write_text(text + "  with_v30: true\n")
    done = user.run("pipeline", "aloha.yaml")
    assert done.exit_code == 0, done.err
    for name, folder, version in (("aloha-gr1", "gr1", "v2.1"), ("aloha-gr1_v30", "gr1_v30", "v3.0")):
        repository = hub.repositories["dataset", f"org/{name}"]
        sent = {path: content for path, content in repository.files.items() if path != ".gitattributes"}
        assert sent == files_of(user.home / "out" / folder)
        assert list(repository.tags) == [version]
    assert told(user.run("pipeline", "aloha.yaml")) == {"convert": "", "upload": "done before, skipped"}


def test_a_refused_upload_is_tried_again_and_nothing_before_it(hub: HubServer, user: HubUser) -> None:
    hub.fail("POST", COMMITS, status=403, times=1000)
    refused = user.run("pipeline", "aloha.yaml")
    assert refused.exit_code == 1
    assert refused.err.splitlines()[-1].startswith("the Hub does not allow this with org/aloha-gr1 (403)")
    hub.faults.clear()
    done = user.run("pipeline", "aloha.yaml")
    assert done.exit_code == 0
    assert told(done) == {"convert": "", "upload": ""}
    assert arrived(hub) == files_of(user.home / "out/gr1")


def test_a_dataset_that_has_changed_is_uploaded_again(hub: HubServer, user: HubUser) -> None:
    assert user.run("pipeline", "aloha.yaml").exit_code == 0
    recipe = user.home / "aloha.yaml"
    recipe.write_text(
        recipe.read_text().replace("out/gr1", "out/folded").replace("}\n", ", task: Fold it, task_all: true}\n")
    )
    done = user.run("pipeline", "aloha.yaml")
    assert told(done) == {"convert": "", "upload": ""}
    assert arrived(hub) == files_of(user.home / "out/folded")


def test_who_is_not_logged_in_is_told_before_anything_is_done(hub: HubServer, user: HubUser) -> None:
    for flags in ((), ("--dry-run",)):
        refused = HubUser(hub, user.home, token=None).run("pipeline", "aloha.yaml", *flags)
        assert refused.exit_code == 1
        assert refused.err.startswith("upload: cannot upload to org/aloha-gr1: log in, as there is no token")
        assert not (user.home / "out").exists()


TRAINED = """
finetune:
  datasets: out/gr1
  base_model_path: base
  output_dir: run
  max_steps: 20
evaluate:
  dataset: out/gr1_heldout
upload:
  repo: org/policy
"""


def evaluated(folder: Path, text: str) -> Path:
    """A pipeline whose run is trained and evaluated, the first of two checkpoints being the better one."""
    path = folder / "trained.yaml"
    path.write_text(text)
    for step in (10, 20):
        checkpoint = folder / f"run/checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("COMPLETE", "config.json", "optimizer.pt"):
            (checkpoint / name).write_text(f"{name} of {step}")
    best = str(folder / "run/checkpoint-10")
    found = Evaluation(dataset="out/gr1_heldout", horizon=16, best=best, checkpoints=())
    (folder / "run/evaluation.json").write_text(found.model_dump_json())
    finished = [replace(step, run=lambda: 0) for step in read_steps(PipelineFile(path))[:-1]]
    assert run_steps(finished, path.with_suffix(".done.json"), tell=print) == 0
    return path


@pytest.mark.parametrize(("key", "step"), [("", 10), ("  checkpoint: best\n", 10), ("  checkpoint: last\n", 20)])
def test_the_best_checkpoint_is_uploaded_without_its_optimizer(
    hub: HubServer, user: HubUser, key: str, step: int
) -> None:
    path = evaluated(user.home, TRAINED + key)
    done = user.run("pipeline", path.name)
    assert done.exit_code == 0, done.err
    assert (
        f"upload: model the {'best' if step == 10 else 'last'} checkpoint of {user.home / 'run'} to org/policy"
        in done.out
    )
    files = hub.repositories["model", "org/policy"].files
    assert files["config.json"] == f"config.json of {step}".encode()
    assert "optimizer.pt" not in files
