"""What a checkpoint says of itself, and what to know before it is evaluated or served."""

import socket
from pathlib import Path

import pytest

from millrace.embodiments.errors import UnknownName
from millrace.engine.dataset.releases import RELEASES
from millrace.train.checkpoint import Checkpoint, list_checkpoints, read_training_digests
from millrace.train.errors import ConfigError, SettingsError
from millrace.train.evaluate import read_contenders
from millrace.train.evaluate_settings import EvaluateSettings
from millrace.train.preflight.evaluation import check_backbone
from millrace.train.run_identity import RunIdentity, dataset_digest
from millrace.train.serve import ServeSettings
from support.demonstrator import HORIZON, write_checkpoint

OLD, NEW = RELEASES


def write_run(folder: Path, *steps: int, digest: str = "0" * 64) -> Path:
    """A run's folder with complete checkpoints."""
    identity = RunIdentity(
        base_model="base",
        datasets=("out/a",),
        digests=(digest,),
        embodiment_tag="NEW_EMBODIMENT",
        robot="gr1",
        action_horizon=HORIZON,
        modality_keys=("state.left_arm",),
    )
    folder.mkdir()
    (folder / "millrace_run.json").write_text(identity.model_dump_json())
    for step in steps:
        (write_checkpoint(folder / f"checkpoint-{step}") / "COMPLETE").touch()
    return folder


def test_it_acts_under_the_tag_that_it_was_finetuned_for(tmp_path: Path) -> None:
    """Though the base model's tags are still in its processor."""
    checkpoint = Checkpoint.open(str(write_checkpoint(tmp_path / "c", tags=("new_embodiment", "gr1"))))
    assert checkpoint.choose_tag(None) == "new_embodiment"
    assert checkpoint.configs["new_embodiment"].horizon == HORIZON
    assert checkpoint.notes("new_embodiment") == ()


def test_another_tag_of_its_base_model_is_allowed_with_a_word(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(str(write_checkpoint(tmp_path / "c", tags=("new_embodiment", "gr1"))))
    assert checkpoint.choose_tag("GR1") == "gr1"
    (note,) = checkpoint.notes("gr1")
    assert "was finetuned as NEW_EMBODIMENT: under GR1 it acts by the config, the statistics" in note


def test_a_tag_that_it_has_not_learnt_is_an_error(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(str(write_checkpoint(tmp_path / "c")))
    with pytest.raises(UnknownName, match=r"'GR1' is not a tag of .* Known: NEW_EMBODIMENT"):
        checkpoint.choose_tag("GR1")


def test_a_tag_is_asked_for_where_it_cannot_be_told(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", tags=("new_embodiment", "gr1"))
    (folder / "experiment_cfg/conf.yaml").unlink()
    with pytest.raises(ConfigError, match=r"does not say its tag. Pass --embodiment-tag: NEW_EMBODIMENT, GR1"):
        Checkpoint.open(str(folder)).choose_tag(None)


def test_a_tag_is_found_by_name_or_value_in_any_case(tmp_path: Path) -> None:
    value = "unitree_g1_full_body_with_waist_height_nav_cmd"
    folder = write_checkpoint(tmp_path / "c", tags=("new_embodiment", value))
    (folder / "config.json").write_text('{"model_type": "Gr00tN1d7"}')
    checkpoint = Checkpoint.open(str(folder))
    assert checkpoint.release is NEW
    for text in ("UNITREE_G1", "unitree_g1", value, value.upper()):
        assert checkpoint.choose_tag(text) == checkpoint.choose_tag(text, NEW) == value
    with pytest.raises(UnknownName, match=r"'GR1' is not a tag of .* Known: NEW_EMBODIMENT, UNITREE_G1$"):
        checkpoint.choose_tag("gr1")


def test_a_checkpoint_of_another_release_is_an_error(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c")
    (folder / "config.json").write_text('{"model_type": "Gr00tN1d7"}')
    told = r"c is a checkpoint of GR00T N1\.7, and N1\.6 is to run it\. For N1\.7 in a Python 3\.12 environment"
    with pytest.raises(ConfigError, match=told):
        Checkpoint.open(str(folder)).choose_tag(None, OLD)
    with pytest.raises(ConfigError, match=told):
        ServeSettings(checkpoint=str(folder), gr00t="n1.6").tag()
    (folder / "config.json").write_text('{"model_type": "mine"}')
    assert Checkpoint.open(str(folder)).choose_tag(None, OLD) == "new_embodiment"


def test_the_backbone_beside_a_checkpoint_must_be_within_reach(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c")
    assert Checkpoint.open(str(folder)).backbone is None
    (folder / "config.json").write_text('{"model_type": "Gr00tN1d6", "model_name": "nvidia/Eagle-Block2A-2B-v2"}')
    assert Checkpoint.open(str(folder)).backbone is None
    (folder / "config.json").write_text('{"model_type": "Gr00tN1d7"}')
    assert Checkpoint.open(str(folder)).backbone == NEW.gated_backbone
    backbone = tmp_path / "Qwen/Qwen3-VL-tiny"
    (folder / "config.json").write_text(f'{{"model_type": "Gr00tN1d7", "model_name": "{backbone}"}}')
    with pytest.raises(ConfigError, match=f"c: there is no folder {backbone}. Name a folder with the backbone"):
        check_backbone(str(folder))
    backbone.mkdir(parents=True)
    check_backbone(str(folder))


def test_a_runs_folder_stands_for_its_complete_checkpoints(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5, 10, 100)
    (run / "checkpoint-10/COMPLETE").unlink()
    assert list_checkpoints(run) == (run / "checkpoint-5", run / "checkpoint-100")
    assert list_checkpoints(run / "checkpoint-5") == (run / "checkpoint-5",)
    with pytest.raises(ConfigError, match="the run has no complete checkpoint yet"):
        list_checkpoints(write_run(tmp_path / "new"))


def test_what_is_no_checkpoint_or_was_cut_short_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    (write_checkpoint(run / "checkpoint-10"))
    with pytest.raises(ConfigError, match=r"checkpoint-10 was cut short .* no COMPLETE"):
        Checkpoint.open(str(run / "checkpoint-10"))
    with pytest.raises(ConfigError, match=r"run is no checkpoint: .*The run's checkpoints: .*checkpoint-5$"):
        Checkpoint.open(str(run))
    with pytest.raises(ConfigError, match="there is no folder /no/such/place"):
        Checkpoint.open("/no/such/place")
    (run / "checkpoint-5/statistics.json").write_text("{")
    with pytest.raises(ConfigError, match=r"checkpoint-5: statistics\.json: Invalid JSON"):
        Checkpoint.open(str(run / "checkpoint-5"))


def test_it_is_said_that_a_checkpoint_has_seen_the_episodes(aloha_gr1: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5, digest=dataset_digest(aloha_gr1))
    assert read_training_digests(str(run / "checkpoint-5")) == (dataset_digest(aloha_gr1),)
    _, (note,) = read_contenders(EvaluateSettings(dataset=aloha_gr1, checkpoints=(str(run / "checkpoint-5"),)))
    assert note.endswith(f"was trained on {aloha_gr1}: this tells how well it remembers")
    other = write_run(tmp_path / "other", 5)
    assert read_contenders(EvaluateSettings(dataset=aloha_gr1, checkpoints=(str(other / "checkpoint-5"),)))[1] == []


def test_a_server_is_for_this_machine_unless_told_otherwise(tmp_path: Path) -> None:
    settings = ServeSettings(checkpoint=str(write_checkpoint(tmp_path / "c")))
    assert (settings.host, settings.port, settings.device) == ("127.0.0.1", 5555, "cuda")
    assert settings.tag() == ("new_embodiment", ())


def test_a_taken_port_is_told_before_a_model_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            ServeSettings(checkpoint="c", port=port).check_address()
    with pytest.raises(SettingsError, match="--port 0: ports lie between 1 and 65535"):
        ServeSettings(checkpoint="c", port=0).check_address()
