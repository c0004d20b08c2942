"""The examples of docs/robots.md and docs/maps.md are files that work, and the pages name every field."""

import re
from pathlib import Path

import numpy as np
import pytest

from conftest import REPOSITORY
from millrace.embodiments import EmbodimentMap, JointGroup, Robot, compile_map, load_map, load_robot

ROBOTS, MAPS = ((REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("robots.md", "maps.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every example under the name in its first line."""
    root = tmp_path_factory.mktemp("docs")
    for name, text in re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", ROBOTS + MAPS, flags=re.DOTALL):
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_every_example_loads(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["mine.yaml", "mine_to_gr1.yaml", "two_fingers.yaml", "two_fingers_to_mine.yaml"]
    assert load_robot(folder / "mine.yaml").layout("action").action_kinds == ("target",) * 4 + ("velocity",) * 2
    assert compile_map(load_map(folder / "mine_to_gr1.yaml")).trained == ("right_arm", "right_hand", "waist")


def test_the_example_with_two_directions_closes_both_fingers(folder: Path) -> None:
    made = compile_map(load_map(folder / "two_fingers_to_mine.yaml"))
    closed_open = np.array([[-1.5, 1.0], [0.0, 0.0]])
    state, action = made.apply(closed_open, closed_open)
    np.testing.assert_allclose(state[:, :2], [[1.5, 2.0], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(action[:, :3], state[:, :3], atol=1e-6)


@pytest.mark.parametrize(("page", "model"), [(ROBOTS, Robot), (ROBOTS, JointGroup), (MAPS, EmbodimentMap)])
def test_the_page_names_every_field(page: str, model: type[Robot | JointGroup | EmbodimentMap]) -> None:
    unnamed = [name for name in model.model_fields if not re.search(rf"\b{name}\b", page)]
    assert unnamed == []


def test_every_yaml_block_is_an_example_with_a_name() -> None:
    blocks = re.findall(r"```yaml\n(.*)", ROBOTS + MAPS)
    assert all(re.fullmatch(r"# \S+\.yaml", line) for line in blocks)
