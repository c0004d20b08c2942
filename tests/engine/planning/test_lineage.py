"""A dataset says where each episode was recorded, however often it was converted, and not where that lay on a disk."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, REPOSITORY, convert_here, files_of, video_path
from millrace.engine.convert import convert
from millrace.engine.dataset.json_files import MAX_LINE
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.planner import plan_splits, prepare_recipe
from millrace.engine.planning.recipe import check_recipe
from support.synthetic import write_dataset

LENGTHS = (41, 33, 47, 44, 50, 38, 36, 45)
SHIPPED = REPOSITORY / "embodiments"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, two of ours that were made of it, and one that was made of one of these."""
    root = tmp_path_factory.mktemp("lineage")
    write_dataset(root / "aloha", lengths=LENGTHS, cameras=())
    settings: dict[str, Any] = {"robot": "aloha", "horizon": 4}
    convert_here(root / "aloha", root / "first", **settings)
    convert_here(root / "aloha", root / "second", **settings, fps=10, episodes="6,1,4,5,2")
    convert_here(root / "second", root / "third", **settings, fps=5, episodes="0:4")
    return root


def origins(dataset: Path) -> list[tuple[str, int]]:
    """Of each episode the dataset and the number that it was recorded as."""
    episodes = json.loads((dataset / "millrace.json").read_text())["episodes"]
    return [(line["origin"]["source"], line["origin"]["episode"]) for line in episodes]


def held(root: Path, *sources: dict[str, Any]) -> list[set[int]]:
    """Which recorded episodes each source holds out."""
    specs = [{**source, "path": root / source["path"]} for source in sources]
    plan = plan_splits(
        prepare_recipe(check_recipe({"sources": specs, "robot": "aloha", "fps": 5, "horizon": 4, "holdout": "1/4"}))
    )[1]
    found: list[set[int]] = [set() for _ in sources]
    for episode in plan.episodes:
        found[episode.binding].add(episode.origin.episode)
    return found


def test_the_origin_is_seen_through_datasets_of_ours(root: Path) -> None:
    assert origins(root / "first") == [("aloha", number) for number in range(8)]
    assert origins(root / "second") == [("aloha", number) for number in (6, 1, 4, 5, 2)]
    assert origins(root / "third") == [("aloha", number) for number in (6, 1, 4, 5)]
    episodes = json.loads((root / "third/millrace.json").read_text())["episodes"]
    assert [(line["source"], line["source_episode"]) for line in episodes] == [("second", n) for n in range(4)]


def test_what_is_held_out_of_one_is_trained_on_in_none(root: Path) -> None:
    (alone,) = held(root, {"path": "aloha"})
    assert len(alone) == 2
    assert held(root, {"path": "first"}) == [alone]
    each = held(root, {"path": "aloha"}, {"path": "first"}, {"path": "second"}, {"path": "third"})
    everything = set.union(*each)
    assert each == [everything, everything, everything & {6, 1, 4, 5, 2}, everything & {6, 1, 4, 5}]


def test_a_listed_episode_is_held_out_of_what_was_made_of_it(root: Path) -> None:
    sources = [{"path": "first", "holdout": "none"}, {"path": "third", "holdout": "1"}]
    specs = [{**source, "path": root / source["path"]} for source in sources]
    plan = plan_splits(prepare_recipe(check_recipe({"sources": specs, "robot": "aloha", "fps": 5, "horizon": 4})))[1]
    assert [(episode.binding, episode.episode.index) for episode in plan.episodes] == [(0, 1), (1, 1)]


def test_others_of_the_same_name_are_others(root: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "aloha", lengths=(60, *LENGTHS[1:]), cameras=())
    (only,) = held(root, {"path": "aloha", "episodes": "0:4"})
    mine, theirs = held(root, {"path": "aloha", "episodes": "0:4"}, {"path": tmp_path / "aloha"})
    assert (mine, len(theirs)) == (only, 2)


@pytest.mark.parametrize("origin", [None, "aloha", {"source": "aloha"}, {"source": 3, "digest": None, "episode": 0}])
def test_a_manifest_that_says_nothing_of_origins_is_done_without(tmp_path: Path, root: Path, origin: Any) -> None:
    convert_here(root / "aloha", tmp_path / "made", robot="aloha", horizon=4, episodes="0:2")
    manifest = tmp_path / "made/millrace.json"
    manifest.write_text(re.sub(r'"origin": \{[^}]*\}', f'"origin": {json.dumps(origin)}', manifest.read_text()))
    convert_here(tmp_path / "made", tmp_path / "out", robot="aloha", horizon=4)
    assert origins(tmp_path / "out") == [("made", 0), ("made", 1)]


def test_a_manifest_is_not_read_past_a_line_without_end(tmp_path: Path, root: Path) -> None:
    convert_here(root / "aloha", tmp_path / "made", robot="aloha", horizon=4, episodes="0:2")
    manifest = tmp_path / "made/millrace.json"
    ours = manifest.read_bytes()
    with manifest.open("wb") as file:
        file.seek(MAX_LINE)  # what is skipped takes no space on the disk
        file.write(b"\n" + ours)
    convert_here(tmp_path / "made", tmp_path / "out", robot="aloha", horizon=4)
    assert origins(tmp_path / "out") == [("made", 0), ("made", 1)]


def test_nothing_that_is_published_tells_where_it_lay(tmp_path: Path) -> None:
    write_dataset(tmp_path / "aloha", lengths=LENGTHS[:4], cameras=("top",))
    video_path(tmp_path / "aloha", 1).unlink()
    (tmp_path / "robot.yaml").write_text((SHIPPED / "robots/aloha.yaml").read_text())
    own_map = (SHIPPED / "maps/aloha_to_gr1.yaml").read_text().replace("source: aloha", "source: ./robot.yaml")
    (tmp_path / "map.yaml").write_text(own_map)
    spec = {"path": tmp_path / "aloha", "map": str(tmp_path / "map.yaml")}
    recipe = check_recipe({"sources": [spec], "image_size": 64, "horizon": 4, "holdout": 0.25})
    convert(recipe, tmp_path / "out", workers=LOCAL, skip_bad=True)
    for out in (tmp_path / "out", heldout_folder(tmp_path / "out")):
        assert [name for name, content in files_of(out).items() if str(tmp_path).encode() in content] == []
    manifest = json.loads((tmp_path / "out/millrace.json").read_text())
    assert [(one["path"], one["map"]) for one in manifest["recipe"]["sources"]] == [("aloha", "map.yaml")]
    assert manifest["quarantine"][0]["reason"].startswith("no video at videos/chunk-000/")
