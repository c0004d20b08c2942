"""The card says whose data it is, how large, how it was made, what it lacks and how to load it."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from conftest import convert_here
from millrace.engine.output.card_facts import CardFacts, describe_licences, describe_resampling, front_matter
from millrace.engine.output.card_sections import left_out_section, recipe_section
from millrace.engine.packing import pack_dataset
from millrace.engine.planning.recipe import check_recipe
from support.synthetic import write_dataset

SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2, "fps": 25, "action": "mid_interval", "trim_idle": True}
HOSTILE = "</code>`<script>alert(1)</script>\n# title"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four episodes one is too short and one is held out; the source's card states its licence."""
    root = tmp_path_factory.mktemp("card")
    write_dataset(root / "mine", lengths=(30, 33, 9, 31))
    (root / "mine/README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    recipe = {**SETTINGS, "holdout": "1", "filter": {"min_length": "0.2s"}}
    convert_here(root / "mine", root / "out", **recipe, task=HOSTILE)
    pack_dataset(root / "out", root / "out_v30")
    return root / "out"


@pytest.fixture(scope="module", params=["out", "out_v30"])
def folder(out: Path, request: pytest.FixtureRequest) -> Path:
    return out.with_name(request.param)


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def table_row(folder: Path, name: str) -> str:
    (row,) = [line for line in card_of(folder).splitlines() if line.startswith(f"| {name} |")]
    return row.removeprefix(f"| {name} | ").removesuffix(" |")


def section(folder: Path, title: str) -> str:
    return card_of(folder).split(f"## {title}\n\n")[1].split("\n## ")[0]


def test_the_hub_can_read_its_front_matter(folder: Path) -> None:
    read = DatasetCard(card_of(folder)).data.to_dict()
    assert read["license"] == "cc-by-4.0"
    assert read["size_categories"] == ["n<1K"]
    assert read["task_categories"] == ["robotics"]
    assert {"LeRobot", "aloha"} <= set(read["tags"])
    assert read["configs"] == [{"config_name": "default", "data_files": "data/*/*.parquet"}]


def test_it_says_licence_size_crop_and_resampling(folder: Path) -> None:
    manifest = json.loads((folder / "millrace.json").read_text())
    num_bytes = {name: sum(path.stat().st_size for path in folder.rglob(f"*.{name}")) for name in ("parquet", "mp4")}
    num_bytes["parquet"] -= sum(path.stat().st_size for path in (folder / "meta").rglob("*.parquet"))
    assert manifest["licences"] == [["cc-by-4.0"]]
    assert table_row(folder, "licence") == "`cc-by-4.0`, by the sources' own cards"
    seconds, sizes = table_row(folder, "size").split("; ")
    assert seconds == "1.2 s"  # 31 frames at 25 Hz
    assert sizes == f"rows {num_bytes['parquet'] / 1000:.1f} kB, videos {num_bytes['mp4'] / 1000:.1f} kB"
    assert "`crop: center`" in table_row(folder, "images")
    assert table_row(folder, "resampling").startswith("50 Hz to 25 Hz (`resample: nearest`); each frame has the action")
    assert "(`action: mid_interval`)" in table_row(folder, "resampling")


def test_it_says_what_was_left_out_and_held_out(folder: Path) -> None:
    left_out = section(folder, "Episodes left out")
    assert "- 1 episode left out by filter\n" in left_out
    assert "  - `mine: filtered: episode 2: it is 0.18 s long (min_length 0.2s)`" in left_out
    held = section(folder, "Held-out episodes")
    assert "`_heldout` after it" in " ".join(held.split())


def test_held_out_episodes_say_what_they_are_for(out: Path) -> None:
    held = section(out.with_name("out_heldout"), "Held-out episodes")
    assert "do not train on them" in " ".join(held.split())


def test_its_recipe_is_the_one_that_made_the_dataset(folder: Path) -> None:
    block = section(folder, "Recipe").split("holds them:\n\n")[1].split("\n\n`millrace.json`")[0]
    written = yaml.safe_load(dedent(block))
    assert set(written) >= {"sources", "robot", "fps", "trim_idle", "filter", "action"}
    assert "gop" not in written
    again = check_recipe(written).model_dump(mode="json")
    assert again == json.loads((folder / "millrace.json").read_text())["recipe"]


def test_no_text_of_a_source_becomes_markdown(folder: Path) -> None:
    lines = [line for line in card_of(folder).splitlines() if "<script>" in line]
    assert lines
    assert all(line.startswith(("    ", "- `` </code>`<script>")) for line in lines)
    assert "\n# title" not in card_of(folder)


def test_a_card_that_changes_between_runs_costs_no_episode(out: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(out.with_name("mine"), tmp_path / "mine"))
    (source / "README.md").unlink()
    convert_here(source, tmp_path / "out", robot="aloha", horizon=2)
    assert DatasetCard(card_of(tmp_path / "out")).data.license == "unknown"
    assert table_row(tmp_path / "out", "licence") == "unknown: ask the sources' owners"


@pytest.mark.parametrize(
    ("licences", "ids", "told"),
    [
        ([["mit"], ["mit"]], "mit", "`mit`, by"),
        ([["mit"], ["cc-by-4.0"]], ["cc-by-4.0", "mit"], "`cc-by-4.0`, `mit`, by"),
        ([["mit"], []], "unknown", "`mit` of some sources, unknown of others: ask their owners"),
        (None, "unknown", "unknown: ask the sources' owners"),
    ],
)
def test_the_licence_of_several_sources_is_that_of_each(licences: Any, ids: object, told: str) -> None:
    facts = CardFacts({"recipe": {"sources": [{}, {}]}, "licences": licences})
    assert DatasetCard(front_matter(facts, ["a: b"], num_frames=1000)).data.to_dict()["license"] == ids
    assert describe_licences(facts).startswith(told)


@pytest.mark.parametrize(
    ("num_frames", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (123_456, "100K<n<1M"), (10**12, "1B<n<10B")]
)
def test_sizes_are_those_of_the_hub(num_frames: int, size: str) -> None:
    assert f"- {size}\n" in front_matter(CardFacts(), [], num_frames=num_frames)


def test_reasons_that_differ_in_numbers_are_one() -> None:
    def failed(episode: int, reason: str) -> dict[str, Any]:
        return {"source": "a", "code": "truncated", "episode": episode, "reason": reason}

    many = [failed(number, f"episode_{number:06d}.mp4 is cut at {number} s") for number in range(40)]
    many += [failed(90 + number, f"{HOSTILE} {'x' * number}") for number in range(60)]
    text = left_out_section(CardFacts({"quarantine": many}))
    assert "- 100 episodes could not be converted\n" in text
    assert "`a: truncated: 40 episodes; the first is episode 0: episode_000000.mp4 is cut at 0 s`" in text
    assert "\n# title" not in text
    assert "- and 41 more reasons" in text
    assert left_out_section(CardFacts()) == ""


def test_a_long_recipe_is_cut() -> None:
    tasks = {f"task {number}": "x" * 1000 for number in range(500)}
    text = recipe_section(CardFacts({"recipe": {"sources": [{"path": "a", "task": tasks}], "fps": "20"}}))
    assert len(text) < 25_000
    assert "    # and " in text


@pytest.mark.parametrize(
    ("rates", "told"),
    [((20, 20), "none, recorded at 20 Hz"), ((50, 30, 50), "30 and 50 Hz to 20 Hz (`resample: nearest`)"), ((), "unk")],
)
def test_resampling_names_the_rates(rates: tuple[int, ...], told: str) -> None:
    settings = {"resample": "nearest", "action": "at_frame"}
    assert describe_resampling([Fraction(rate) for rate in rates], Fraction(20), settings).startswith(told)
