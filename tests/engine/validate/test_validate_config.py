"""validate() understands a modality config as GR00T does, without running it."""

import re
from pathlib import Path
from typing import Any

import pytest

from conftest import data_path
from millrace.engine.validate import validate
from support.broken_datasets import append, codes, config, relative_stats, set_horizon, shift_relative_mean, widen
from support.synthetic import (
    rewrite_parquet,
)


def test_the_config_is_never_run(dataset: Path, tmp_path: Path) -> None:
    append(dataset / "modality_config.py", f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n")
    assert codes(validate(dataset)) == {"config-dynamic"}
    assert not (tmp_path / "ran").exists()


def test_names_in_the_config_are_followed(dataset: Path) -> None:
    config(dataset, "CONFIG = {", "STEPS = 15\nCONFIG = {")
    config(dataset, "range(16)", "range(STEPS)")
    assert codes(validate(dataset)) == {"relative-horizon"}


def test_relative_statistics_have_a_step_for_each_delta_index(dataset: Path) -> None:
    """GR00T's stats.py: steps 0, 2, ..., 30 are 16, though they span 31 frames."""
    config(dataset, "list(range(16))", "list(range(0, 32, 2))")
    assert validate(dataset).problems == ()


def test_a_chunk_has_as_many_steps_for_the_model_as_delta_indices(dataset: Path) -> None:
    config(dataset, "list(range(16))", "list(range(0, 54, 2))")
    relative_stats(dataset, lambda content: {name: stretched(entry, 27) for name, entry in content.items()})
    # 27 steps are few enough for the model, but the last episode lacks the 53 frames that they span.
    assert codes(validate(dataset)) == {"episodes-untrained"}


def stretched(entry: dict[str, Any], horizon: int) -> dict[str, Any]:
    return {stat: [values[0]] * horizon for stat, values in entry.items()}


def test_an_episode_must_hold_the_span_of_a_chunk(dataset: Path) -> None:
    config(dataset, "list(range(16))", "list(range(0, 64, 4))")
    report = validate(dataset)
    assert codes(report) == {"episodes-too-short"}
    assert "the 61 frames of an action chunk" in report.errors[0].message


@pytest.mark.parametrize("tag", ["", ", embodiment_tag=EmbodimentTag.NEW_EMBODIMENT"])
def test_tags_without_a_config_of_groots_are_free(tag: str, dataset: Path) -> None:
    set_tag(dataset, tag)
    assert validate(dataset).problems == ()


def test_a_tag_of_one_release_is_a_warning_unless_another_is_named(dataset: Path) -> None:
    set_tag(dataset, ", EmbodimentTag.GR1")
    assert validate(dataset, gr00t="n1.6").problems == ()
    (found,) = validate(dataset).problems
    assert (found.code, found.severity) == ("config-tag", "warning")
    told = "registers for GR1, which is no tag of N1.7, so GR00T stops: use NEW_EMBODIMENT"
    assert found.message == f"for GR00T N1.7, not N1.6: {told}"
    (found,) = validate(dataset, gr00t="n1.7").problems
    assert (found.code, found.severity, found.message) == ("config-tag", "error", told)


def test_limits_of_one_release_are_warnings_unless_it_is_named(dataset: Path) -> None:
    """132 values are too many for N1.6 alone, 45 steps for N1.7 alone, and one dataset may be for either."""
    widen(dataset, 118)
    set_horizon(dataset, 45)
    by_release = {
        choice: {found.code: found.message for found in validate(dataset, gr00t=choice).errors}
        for choice in ("n1.6", "n1.7")
    }
    assert set(by_release["n1.6"]) == {"model-dims"}
    assert by_release["n1.6"]["model-dims"].endswith("N1.6 takes 128")
    assert by_release["n1.7"] == {"model-horizon": "has action chunks of 45 steps, N1.7 takes 40"}
    report = validate(dataset)
    assert report.is_valid
    told = {found.code: found.message for found in report.warnings if found.code.startswith("model-")}
    assert told["model-horizon"] == "for GR00T N1.7, not N1.6: has action chunks of 45 steps, N1.7 takes 40"
    assert told["model-dims"].startswith("for GR00T N1.6, not N1.7: trains 132 ")


def test_what_no_release_takes_is_an_error_for_each(dataset: Path) -> None:
    set_horizon(dataset, 51)
    found = [found.message.rpartition(", ")[2] for found in validate(dataset).errors if found.code == "model-horizon"]
    assert found == ["N1.6 takes 50", "N1.7 takes 40"]


@pytest.mark.parametrize("tag", [", EmbodimentTag.MY_ROBOT", ", embodiment_tag=EmbodimentTag.OXE_DROID"])
def test_tags_that_groot_stops_at_are_noticed(tag: str, dataset: Path) -> None:
    set_tag(dataset, tag)
    assert codes(validate(dataset)) == {"config-tag"}


def set_tag(root: Path, argument: str) -> None:
    path = root / "modality_config.py"
    text, num_calls = re.subn(
        r"(?m)^register_modality_config\(.*\)$", f"register_modality_config(CONFIG{argument})", path.read_text()
    )
    assert num_calls == 1
    path.write_text(text)


@pytest.mark.parametrize("steps", ["list(range(1048576))", "list(range(0, 65536))", str([0] * 5000)])
def test_endless_chunks_are_not_counted(steps: str, dataset: Path) -> None:
    config(dataset, "list(range(16))", steps)
    assert codes(validate(dataset)) == {"config-dynamic"}


@pytest.mark.parametrize(
    "constants",
    [
        "STEPS = STEPS",
        "A, B = B, A\nSTEPS = A",
        "STEPS = [STEPS]",
        "A = [0] * 9\nSTEPS = A",
        'STEPS = ["0"]',
        "STEPS = 16",
    ],
)
def test_constants_that_are_no_steps_are_not_followed(constants: str, dataset: Path) -> None:
    config(dataset, "CONFIG = {", f"{constants}\nCONFIG = {{")
    config(dataset, "list(range(16))", "STEPS")
    assert codes(validate(dataset)) == {"config-dynamic"}


def test_constants_that_hold_each_other_many_times_are_not_followed(dataset: Path) -> None:
    nested = "".join(f"A{level + 1} = [{', '.join([f'A{level}'] * 100)}]\n" for level in range(20))
    config(dataset, "CONFIG = {", f"A0 = [0]\n{nested}CONFIG = {{")
    config(dataset, "list(range(16))", "A20")
    assert codes(validate(dataset)) == {"config-dynamic"}


def test_config_without_cameras_is_noticed(dataset: Path) -> None:
    config(dataset, '"top",', "")
    assert codes(validate(dataset)) == {"config-keys"}


def test_a_relative_action_takes_the_state_that_the_config_names(dataset: Path) -> None:
    """With state_key another group's state counts, so statistics of the old difference are stale."""
    relative = 'ActionConfig(  # "left_arm"\n                rep=ActionRepresentation.RELATIVE,'
    config(dataset, relative, f'{relative} state_key="right_arm",')
    report = validate(dataset)
    assert codes(report) == {"stats-values"}
    assert {found.path for found in report.problems} == {Path("meta/relative_stats.json")}


def test_poses_are_not_compared_as_if_they_were_joints(dataset: Path) -> None:
    relative_stats(dataset, shift_relative_mean)
    config(dataset, "ActionType.NON_EEF", "ActionType.EEF")
    assert validate(dataset).problems == ()


def test_a_duplicate_column_is_noticed(dataset: Path) -> None:
    rewrite_parquet(data_path(dataset, 0), lambda table: table.append_column("index", table["index"]))
    assert codes(validate(dataset)) == {"rows-unreadable"}


def test_sin_and_cos_count_double(dataset: Path) -> None:
    config(dataset, "list(range(16))", "[0, 1]")
    config(dataset, "delta_indices=[0],", 'delta_indices=[0], sin_cos_embedding_keys=["wide"],')
    widen(dataset, 60)
    assert "model-dims" in codes(validate(dataset))
    config(dataset, "sin_cos_embedding_keys", "mean_std_embedding_keys")
    assert "model-dims" not in codes(validate(dataset))
