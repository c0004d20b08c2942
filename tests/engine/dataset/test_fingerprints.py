"""Fingerprints are those that GR00T N1.7 looks for: of the text that its gr00t/data/stats.py digests."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from conftest import convert_here, files_of, read_meta
from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints, relative_fingerprints
from millrace.engine.dataset.modality_config import ActionRep, GrootConfig, GrootModality
from support.synthetic import edit_json


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_a_features_is_of_its_name_type_and_shape() -> None:
    features = {
        "action": {"dtype": "float32", "shape": [44], "names": ["left_shoulder_pitch"]},
        "reward": {"dtype": "float64"},
        "observation.images.top": {"dtype": "video", "shape": [256, 256, 3]},
        "index": {"dtype": "int64", "shape": [1]},
    }
    assert feature_fingerprints(features) == {
        "action": digest('{"dtype":"float32","feature":"action","shape":[44]}'),
        "reward": digest('{"dtype":"float64","feature":"reward","shape":null}'),
    }


def test_a_relative_groups_is_of_its_tag_steps_and_kind() -> None:
    actions = (ActionRep("ABSOLUTE"), ActionRep("RELATIVE", "EEF", state_key="wrist", format="XYZ_ROT6D"))
    modalities = {
        "state": GrootModality(("hand", "wrist"), (-1, 0)),
        "action": GrootModality(("hand", "arm"), (0, 1, 2), action_configs=actions),
    }
    assert relative_fingerprints(GrootConfig(modalities), "new_embodiment") == {
        "arm": digest(
            '{"action_delta_indices":[0,1,2],"action_key":"arm","embodiment_tag":"new_embodiment",'
            '"format":"XYZ_ROT6D","rep":"RELATIVE","state_delta_indices":[-1,0],"state_key":"wrist","type":"EEF"}'
        )
    }


def test_a_state_of_the_actions_own_name_is_null() -> None:
    modalities = {
        "state": GrootModality(("arm",), (0,)),
        "action": GrootModality(("arm",), (0,), action_configs=(ActionRep("RELATIVE"),)),
    }
    expected = digest(
        '{"action_delta_indices":[0],"action_key":"arm","embodiment_tag":"gr1","format":"DEFAULT","rep":"RELATIVE",'
        '"state_delta_indices":[0],"state_key":null,"type":"NON_EEF"}'
    )
    assert relative_fingerprints(GrootConfig(modalities), "gr1") == {"arm": expected}


def test_a_conversion_has_those_of_its_float_features(aloha_gr1: Path) -> None:
    stats = read_meta(aloha_gr1, "stats.json")
    assert stats[FINGERPRINTS] == {
        "observation.state": digest('{"dtype":"float32","feature":"observation.state","shape":[44]}'),
        "action": digest('{"dtype":"float32","feature":"action","shape":[44]}'),
        "timestamp": digest('{"dtype":"float32","feature":"timestamp","shape":[1]}'),
    }


def test_relative_statistics_have_none_as_n1_6_would_stop_at_them(aloha_gr1: Path) -> None:
    assert set(read_meta(aloha_gr1, "relative_stats.json")) == {"left_arm", "right_arm"}


def test_what_an_earlier_version_began_ends_as_a_new_conversion(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(aloha_gr1, tmp_path / "out"))
    shutil.rmtree(out / "meta")
    convert_here(aloha, out)
    assert files_of(out) == files_of(aloha_gr1)


def test_what_an_earlier_version_finished_stays_as_it_is(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(aloha_gr1, tmp_path / "out"))
    edit_json(out / "meta/stats.json", lambda content: content.pop(FINGERPRINTS) and None)
    before = files_of(out)
    convert_here(aloha, out)
    assert files_of(out) == before


@pytest.mark.parametrize("name", ["stats.json", "relative_stats.json"])
def test_every_entry_of_the_files_is_an_object(aloha_gr1: Path, name: str) -> None:
    """GR00T skips or looks up what is an object; LeRobot of v2.0 flattens it."""
    assert all(isinstance(entry, dict) for entry in json.loads((aloha_gr1 / "meta" / name).read_text()).values())
