"""`millrace groot-view` makes a folder that NVIDIA's launcher takes in place of the dataset."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import read_meta
from millrace import cli
from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.releases import find_release
from support.groot_files import write_groot


def view(*words: object) -> int:
    return cli.main(["groot-view", *map(str, words)])


def test_a_view_is_made_and_its_use_is_said(
    aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "views/gr1"
    assert view(aloha_gr1, out, "--gr00t", "n1.7") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: made, a view of {aloha_gr1} for GR00T N1.7 as NEW_EMBODIMENT",
        f"NVIDIA's launcher: --dataset-path {out} --embodiment-tag NEW_EMBODIMENT "
        f"--modality-config-path {aloha_gr1 / 'modality_config.py'}",
    ]
    assert set(read_meta(out, "relative_stats.json")[FINGERPRINTS]) == {"left_arm", "right_arm"}
    assert view(aloha_gr1, out, "--gr00t", "n1.7") == 0
    assert "is up to date" in capsys.readouterr().out


def test_a_view_for_n1_6_has_no_fingerprints_at_which_it_would_stop(aloha_gr1: Path, tmp_path: Path) -> None:
    assert view(aloha_gr1, tmp_path / "out", "--gr00t", "n1.6", "--embodiment-tag", "gr1") == 0
    assert set(read_meta(tmp_path / "out", "relative_stats.json")) == {"left_arm", "right_arm"}


@pytest.mark.parametrize("has_fingerprints", [False, True])
def test_the_installed_build_tells_what_it_wants(
    has_fingerprints: bool, aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(
        str(write_groot(tmp_path / "installed", find_release("n1.7"), has_fingerprints=has_fingerprints))
    )
    assert view(aloha_gr1, tmp_path / "out") == 0
    assert (FINGERPRINTS in read_meta(tmp_path / "out", "relative_stats.json")) == has_fingerprints


def test_another_action_chunk_is_computed_and_said_as_json(
    aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (aloha_gr1 / "modality_config.py").read_text()
    (tmp_path / "short.py").write_text(text.replace("list(range(16))", "list(range(5))"))
    words = (aloha_gr1, tmp_path / "out", "--gr00t", "n1.7", "--modality-config-path", tmp_path / "short.py", "--json")
    assert view(*words) == 0
    assert json.loads(capsys.readouterr().out) == {
        "view": str(tmp_path / "out"),
        "dataset": str(aloha_gr1),
        "embodiment_tag": "NEW_EMBODIMENT",
        "has_fingerprints": True,
        "computed": ["relative left_arm", "relative right_arm"],
        "left": {},
        "is_new": True,
    }


def test_what_groot_must_compute_itself_is_said(
    aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (aloha_gr1 / "modality_config.py").read_text()
    (tmp_path / "long.py").write_text(text.replace("list(range(16))", "list(range(30))"))
    words = (aloha_gr1, tmp_path / "out", "--gr00t", "n1.7", "--modality-config-path", tmp_path / "long.py")
    assert view(*words) == 0
    assert (
        "left to GR00T, at its first run: relative left_arm (no episode has the 30 frames of an action chunk)"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--gr00t", "n1.7", "--embodiment-tag", "GR1"), "GR1 is no tag of GR00T N1.7"),
        (("--gr00t", "n1.7", "--modality-config-path", "none.py"), "there is no modality config at none.py"),
        (
            ("--gr00t", "n1.7", "--embodiment-tag", "UNITREE_G1", "--modality-config-path", "g1.py"),
            "--modality-config-path g1.py: GR00T N1.7 has a config of its own for UNITREE_G1",
        ),
    ],
)
def test_a_wrong_tag_or_config_is_told(
    words: tuple[str, ...], told: str, aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert view(aloha_gr1, tmp_path / "out", *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_release_must_be_installed_or_named_and_a_dataset_there(
    aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert view(tmp_path / "nowhere", tmp_path / "out", "--gr00t", "n1.7") == 2
    assert f"there is no dataset at {tmp_path / 'nowhere'}" in capsys.readouterr().err
    if find_spec("gr00t") is None:
        assert view(aloha_gr1, tmp_path / "out") == 2
        assert "pass the release to view it for: --gr00t" in capsys.readouterr().err


def test_another_view_and_a_foreign_folder_are_kept(
    aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert view(aloha_gr1, tmp_path / "out", "--gr00t", "n1.7") == 0
    assert view(aloha_gr1, tmp_path / "out", "--gr00t", "n1.6") == 2
    assert "or pass --overwrite to replace it" in capsys.readouterr().err
    assert view(aloha_gr1, tmp_path / "out", "--gr00t", "n1.6", "--overwrite") == 0
    foreign = Path(shutil.copytree(aloha_gr1 / "meta", tmp_path / "foreign"))
    assert view(aloha_gr1, foreign, "--gr00t", "n1.7", "--overwrite") == 2
    assert "holds something else than a view" in capsys.readouterr().err


def test_the_card_names_the_command(aloha_gr1: Path) -> None:
    card = (aloha_gr1 / "README.md").read_text()
    assert "millrace groot-view DATASET VIEW --gr00t n1.7 --embodiment-tag NEW_EMBODIMENT" in card
