"""Draft a layout of HDF5 files whose keys no shipped layout knows, for its owner to check."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from math import prod

from millrace.embodiments import Remedy
from millrace.embodiments.yaml_file import dump_flow, read_yaml
from millrace.engine.errors import DatasetError
from millrace.engine.fps import parse_fps
from millrace.engine.sources.hdf5.hdf5_layout import parse_layout
from millrace.engine.sources.hdf5.hdf5_survey import Hdf5Survey, SurveyedKey
from millrace.engine.text import join_names, printable

ACTION = {"action", "actions", "command", "commands", "cmd", "target", "targets", "ctrl"}
STATE = {"qpos", "position", "positions", "pos", "joint", "joints", "state", "states", "eef", "pose", "gripper", "q"}
# Words that begin so are no positions: velocities, efforts, rewards, what the robot handles, and what came after.
NO_STATE = re.compile(r"q?vel|q?acc|effort|torque|force|current|reward|done|success|object|next|time")
RATES = {"fps", "hz", "freq", "frequency", "rate"}
TASKS = {"task", "instruction", "language", "goal", "prompt"}
# A wider vector is no state of a robot.
MAX_WIDTH = 512


@dataclass(frozen=True)
class LayoutDraft:
    """The text of a layout file, and what it could not tell, in words."""

    text: str
    unknown: tuple[str, ...]


def draft_layout(survey: Hdf5Survey) -> LayoutDraft:
    """Draft a layout from the names and shapes of a file's datasets.

    Raises:
        DatasetError: no key looks like an action, or none like a state; lists those that there are.
    """
    length = _num_frames(survey)
    vectors = {name: key for name, key in survey.keys.items() if _is_vector(key, length)}
    action = _best([name for name in vectors if _words(name) & ACTION and "next" not in _words(name)])
    state = [name for name in vectors if _is_state(_words(name))]
    cameras = [name for name, key in survey.keys.items() if key.image is not None and "next" not in _words(name)]
    for found, what in ((action, "action"), (state, "state")):
        if not found:
            advice = Remedy(f"write a layout by hand that names them under `{what}:`")
            known = join_names([printable(name) for name in vectors], 20) or "none"
            raise DatasetError(f"{survey.path}: no key looks like the {what}. Numbers by frame: {known}; ", advice)
    rate, task = _find_rate(survey), _find_task(survey)
    left = [name for name in vectors if name not in (*action, *state)]
    lines = [
        f"# Drafted from {printable(survey.path.name)}: check each key, and name its values in their order,",
        "# such as  observations/qpos: [waist, shoulder, elbow]",
        *([f"episodes: {dump_flow(survey.episodes)}"] if survey.episodes else []),
        *([f"fps: {{attribute: {dump_flow(rate)}}}"] if rate else ["# fps: 30  # the file does not tell it"]),
        *([f"task: {{attribute: {dump_flow(task)}}}"] if task else []),
        *_section("state", state, vectors),
        *_section("action", action, vectors),
        "action_kind: target  # or delta, where actions are steps, or velocity",
        *(["cameras:"] if cameras else []),
        *(f"  {dump_flow(name)}: {dump_flow(key)}" for name, key in _camera_names(cameras).items()),
        "flip: none  # or vertical, horizontal, both: pictures of simulators are often upside down",
        *(["jpeg_order: rgb  # or bgr, where red is blue"] if _has_files(survey, cameras) else []),
        *(["color_order: rgb  # or bgr, where red is blue in arrays"] if _has_arrays(survey, cameras) else []),
        *(f"# not used: {printable(name)} {list(vectors[name].shape)}" for name in left),
    ]
    text = "\n".join(lines) + "\n"
    parse_layout(read_yaml(survey.path.with_suffix(".yaml"), error=DatasetError, text=text))
    return LayoutDraft(text, tuple(_unknown(survey, cameras, rate, task)))


def _unknown(survey: Hdf5Survey, cameras: Iterable[str], rate: str | None, task: str | None) -> Iterable[str]:
    yield "the names of the values of state and action"
    yield "whether actions are targets, steps or velocities"
    if rate is None:
        yield "the rate"
    if task is None:
        yield "the task"
    if cameras:
        yield "whether pictures stand upright: look at a contact sheet"
    if _has_files(survey, cameras):
        yield "whether the files in rows are RGB or BGR"


def _has_files(survey: Hdf5Survey, cameras: Iterable[str]) -> bool:
    return any(survey.keys[name].image == "files" for name in cameras)


def _has_arrays(survey: Hdf5Survey, cameras: Iterable[str]) -> bool:
    return any(survey.keys[name].image != "files" for name in cameras)


def _num_frames(survey: Hdf5Survey) -> int:
    """The length that most datasets have."""
    lengths = Counter(key.shape[0] for key in survey.keys.values() if key.shape and (key.is_vector or key.image))
    if not lengths:
        raise DatasetError(f"{survey.path} holds no numbers by frame, so that no layout can be drafted")
    return lengths.most_common(1)[0][0]


def _is_vector(key: SurveyedKey, length: int) -> bool:
    return key.is_vector and key.shape[0] == length and len(key.shape) <= 2 and prod(key.shape[1:]) <= MAX_WIDTH


def _is_state(words: set[str]) -> bool:
    return bool(words & STATE) and not words & ACTION and not any(map(NO_STATE.match, words))


def _best(names: list[str]) -> list[str]:
    """The key that is called an action outright, else all that are parts of one."""
    whole = [name for name in names if name.rpartition("/")[2] in ("action", "actions")]
    return whole[:1] or names


def _section(vector: str, names: Iterable[str], vectors: Mapping[str, SurveyedKey]) -> Iterable[str]:
    yield f"{vector}:"
    for name in names:
        yield f"  {dump_flow(name)}: null  # {prod(vectors[name].shape[1:])} values"


def _camera_names(keys: Iterable[str]) -> dict[str, str]:
    """Keys by the last part of their path, or all of it where others end alike; a number tells the rest apart."""
    short = {key: _clean(key.rpartition("/")[2]) for key in keys}
    counts = Counter(short.values())
    found: dict[str, str] = {}
    for key, last in short.items():
        name = last if counts[last] == 1 else _clean(key.replace("/", "_"))
        numbered = (f"{name}_{number}" for number in count(2))
        found[next(one for one in chain([name], numbered) if one not in found)] = key
    return found


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


def _find_rate(survey: Hdf5Survey) -> str | None:
    for name, value in survey.attributes.items():
        if _words(name) & RATES:
            try:
                parse_fps(value)
            except ValueError:
                continue
            return name
    return None


def _find_task(survey: Hdf5Survey) -> str | None:
    texts = (name for name, value in survey.attributes.items() if isinstance(value, str) and value.strip())
    return next((name for name in texts if _words(name) & TASKS), None)


def _words(name: str) -> set[str]:
    return {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
