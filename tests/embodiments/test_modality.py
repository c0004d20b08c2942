"""What GR00T is told of a dataset."""

import ast
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from millrace.embodiments import (
    ModalityConfig,
    compile_map,
    identity_map,
    load_map,
    load_robot,
    modality_config,
    modality_config_source,
    modality_json,
)

TRAINED = ("left_arm", "left_hand", "right_arm", "right_hand", "waist")


@pytest.fixture
def config() -> ModalityConfig:
    return modality_config(compile_map(load_map("aloha_to_gr1")), ["ego_view"], 16)


def test_modality_json_is_that_of_nvidias_demo() -> None:
    places = {
        "left_arm": {"start": 0, "end": 7},
        "left_hand": {"start": 7, "end": 13},
        "left_leg": {"start": 13, "end": 19},
        "neck": {"start": 19, "end": 22},
        "right_arm": {"start": 22, "end": 29},
        "right_hand": {"start": 29, "end": 35},
        "right_leg": {"start": 35, "end": 41},
        "waist": {"start": 41, "end": 44},
    }
    assert modality_json(load_robot("gr1"), ["ego_view"]) == {
        "state": places,
        "action": places,
        "video": {"ego_view": {"original_key": "observation.images.ego_view"}},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def test_modality_config_is_that_of_the_guide(config: ModalityConfig) -> None:
    assert config.video_keys == ("ego_view",)
    assert config.state_keys == config.action_keys == TRAINED
    assert config.action_reps == ("relative", "absolute", "relative", "absolute", "absolute")
    assert config.horizon == 16
    assert config.language_key == "annotation.human.task_description"


def test_a_robot_onto_itself_trains_all_of_its_groups() -> None:
    made = modality_config(compile_map(identity_map(load_robot("aloha"))), ["top"], 8)
    assert made.state_keys == ("left_arm", "left_gripper", "right_arm", "right_gripper")
    assert made.horizon == 8


def test_a_relative_action_needs_its_state(config: ModalityConfig) -> None:
    with pytest.raises(ValueError, match="relative action 'left_arm' needs the state"):
        replace(config, state_keys=TRAINED[1:])
    with pytest.raises(ValueError, match="5 action keys but 1 representations"):
        replace(config, action_reps=("absolute",))
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        replace(config, horizon=0)


def registered(source: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, object], object]:
    """What the file registers, run against the names that gr00t has."""
    calls: list[tuple[dict[str, object], object]] = []
    records = dict.fromkeys(("ActionConfig", "ModalityConfig"), SimpleNamespace)
    enums = {
        "ActionFormat": SimpleNamespace(DEFAULT="default"),
        "ActionRepresentation": SimpleNamespace(RELATIVE="relative", ABSOLUTE="absolute"),
        "ActionType": SimpleNamespace(NON_EEF="non_eef"),
    }
    tag = SimpleNamespace(NEW_EMBODIMENT="new_embodiment")
    modules: dict[str, dict[str, object]] = {
        "gr00t.data.types": {**records, **enums},
        "gr00t.data.embodiment_tags": {"EmbodimentTag": tag},
        "gr00t.configs.data.embodiment_configs": {
            "register_modality_config": lambda config, tag: calls.append((config, tag))
        },
    }
    for name in ("gr00t", "gr00t.data", "gr00t.configs", "gr00t.configs.data", *modules):
        module = ModuleType(name)
        vars(module).update(modules.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, "modality_config.py", "exec"), {})
    (call,) = calls
    return call


def test_the_file_registers_the_config(
    config: ModalityConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, tag = registered(modality_config_source(config), monkeypatch)
    assert tag == "new_embodiment"
    assert {key: vars(part)["delta_indices"] for key, part in made.items()} == {
        "video": [0],
        "state": [0],
        "action": list(range(16)),
        "language": [0],
    }
    assert {key: vars(part)["modality_keys"] for key, part in made.items()} == {
        "video": ["ego_view"],
        "state": list(TRAINED),
        "action": list(TRAINED),
        "language": ["annotation.human.task_description"],
    }
    actions = vars(made["action"])["action_configs"]
    assert tuple(action.rep for action in actions) == config.action_reps
    assert {(action.type, action.format) for action in actions} == {("non_eef", "default")}
    assert capsys.readouterr().out == ""


def test_the_file_names_its_map_and_is_the_same_every_time(config: ModalityConfig) -> None:
    source = modality_config_source(config)
    assert "aloha_to_gr1" in (ast.get_docstring(ast.parse(source)) or "")
    assert source == modality_config_source(replace(config))


def test_names_cannot_become_code(config: ModalityConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = '\N{ROBOT FACE}x"""\nimport os, "{}\\'
    wild = replace(
        config,
        name=evil,
        video_keys=(evil,),
        state_keys=(evil,),
        action_keys=(evil,),
        action_reps=("relative",),
        language_key=evil,
    )
    made, _ = registered(modality_config_source(wild), monkeypatch)
    assert {tuple(vars(part)["modality_keys"]) for part in made.values()} == {(evil,)}


def test_the_file_is_formatted_as_ruff_would(config: ModalityConfig, tmp_path: Path) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    path = tmp_path / "modality_config.py"
    path.write_text(modality_config_source(config), encoding="utf-8")
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [ruff, *command, "--isolated", "--line-length", "100", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
