"""Maps between robots: rules by name, compiled to one gather per vector."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from millrace.embodiments.errors import MapError, MillraceError, RuleError, UnknownName, WrongField, check_name
from millrace.embodiments.inverse import InverseMap, invert_map
from millrace.embodiments.joint_map import CompiledMap, JointMap
from millrace.embodiments.messages import Remedy
from millrace.embodiments.robot import (
    NO_LIMITS,
    VECTORS,
    Layout,
    Robot,
    Vector,
    file_names,
    find_file,
    is_path,
    load_robot,
)
from millrace.embodiments.rules import Copy, Rule, Undefined, apply_rule
from millrace.embodiments.wiring import Source, Target, Wire
from millrace.embodiments.yaml_file import FileModel, Name, YamlFile, first_problem, one_or_more, parse_yaml, read_yaml

MAPS = Path(__file__).parent / "maps"
JointNames = Annotated[tuple[str, ...], one_or_more(str), Field(min_length=1)]


class EmbodimentMap(FileModel):
    """How the target robot's groups come from the source robot's.

    Args:
        groups: One rule for each group of the target, for state and action alike.
        state: Rules for the state only, in place of those.
        action: Rules for the action only, in place of those.
        cameras: The source's camera for each camera of the target.
        also_train: Groups to train on though the map drives none of their joints.
        crop: How its guide crops frames; None: it does not say.
        read_back: By joint of the source, the joints of the target that give it back; by default the mean of all that
            carry it does.
    """

    name: Name
    description: str = ""
    source: Robot
    target: Robot
    cameras: dict[str, str]
    groups: Annotated[dict[str, Rule], Field(min_length=1)]
    state: dict[str, Rule] = Field(default_factory=dict)
    action: dict[str, Rule] = Field(default_factory=dict)
    also_train: tuple[str, ...] = ()
    crop: Literal["center", "pad", "none"] | None = None
    read_back: dict[str, JointNames] = Field(default_factory=dict)

    @property
    def inverse(self) -> InverseMap:
        """From the target back to the source: of each joint, what carries it; `losses` names what nothing carries.

        Raises:
            MapError: The map leaves a group undefined.
        """
        return invert_map(compile_map(self), self.read_back)

    def rule(self, group: str, vector: Vector) -> tuple[Rule, tuple[str, str]]:
        """The rule of a target group in the state or the action, and its key in the file."""
        own = self._own(vector)
        if group in own:
            return own[group], (vector, group)
        return self.groups[group], ("groups", group)

    @property
    def undefined(self) -> dict[str, str]:
        """Groups of the target without a rule that drives them, and the map's reason."""
        rules = [(group, self.rule(group, vector)) for vector in VECTORS for group in self.target.groups_of(vector)]
        return {group: rule.undefined for group, (rule, _) in rules if isinstance(rule, Undefined)}

    def with_rules(self, rules: Mapping[str, Rule]) -> "EmbodimentMap":
        """This map with other rules for some groups, which replace its own for state and action.

        Raises:
            RuleError: A rule is wrong, or no group of the target is called so.
        """
        own = {
            vector: {name: rule for name, rule in self._own(vector).items() if name not in rules} for vector in VECTORS
        }
        try:
            return EmbodimentMap.model_validate({**dict(self), **own, "groups": {**self.groups, **rules}})
        except ValidationError as problem:
            key, error = first_problem(problem)
            where = ".".join(str(part) for part in key if not str(part).startswith("<"))
            raise RuleError(key, f"rules for map {self.name!r}, {where}: ", error) from None

    def _own(self, vector: Vector) -> dict[str, Rule]:
        return self.state if vector == "state" else self.action

    @model_validator(mode="after")
    def _fits_its_robots(self) -> "EmbodimentMap":
        self._check_names()
        if missing := [group for group in self.target.groups if group not in self.groups]:
            raise WrongField(
                ("groups",),
                f"{', '.join(missing)} of {self.target.name!r} has no rule; ",
                Remedy("`rest` says that nothing drives a group."),
                expected=missing,
            )
        invert_map(_compile(self), self.read_back)
        return self

    def _check_names(self) -> None:
        ours, theirs = self.target, self.source
        group = f"joint group of {ours.name!r}"
        for name in self.groups:
            check_name(name, group, ours.groups, key=("groups", name))
        for vector in VECTORS:
            kind, known = f"{group} in its {vector}", ours.groups_of(vector)
            for name in self._own(vector):
                check_name(name, kind, known, key=(vector, name))
        for i, name in enumerate(self.also_train):
            check_name(name, group, ours.groups, key=("also_train", i))
        for name, source in self.cameras.items():
            check_name(name, f"camera of {ours.name!r}", ours.cameras, key=("cameras", name))
            check_name(source, f"camera of {theirs.name!r}", theirs.cameras, key=("cameras", name))


def load_map(name_or_path: str | Path) -> EmbodimentMap:
    """Load a map that ships with Millrace, by name, or a user's own, by the path of its YAML file.

    Its robots are names, or paths relative to the map's file.

    Raises:
        UnknownName: No map of that name ships.
        MapError: The map is wrong or does not fit its robots; cites file and line.
        RobotError: One of its robots' files is wrong.
    """
    file = read_yaml(find_file(name_or_path, MAPS, kind="map"), error=MapError)
    robots = [(role, _load_named_robot(file, role)) for role in ("source", "target") if role in file.content]
    return parse_yaml(EmbodimentMap, file, {**file.content, **dict(robots)})


def map_names() -> tuple[str, ...]:
    """The maps that ship."""
    return file_names(MAPS)


def identity_map(robot: Robot) -> EmbodimentMap:
    """The map of a robot onto itself."""
    return EmbodimentMap(
        name=robot.name,
        source=robot,
        target=robot,
        cameras={camera: camera for camera in robot.cameras},
        groups={group: Copy(copy=group) for group in robot.groups},
    )


def compile_map(embodiment_map: EmbodimentMap) -> CompiledMap:
    """Turn a map's names into columns.

    Raises:
        MapError: The map leaves a group undefined; says which and why.
    """
    if undefined := embodiment_map.undefined:
        reasons = "; ".join(f"{group} ({reason})" for group, reason in undefined.items())
        raise MapError(
            f"map {embodiment_map.name!r} leaves undefined what these groups of {embodiment_map.target.name!r} become: "
            f"{reasons}. ",
            Remedy(
                "Give each a rule under `rules:` of the source in the recipe: rest, or a joint and its range, "
                f"{next(iter(undefined))}: {{broadcast: JOINT, rescale: {{source: [LOW, HIGH], target: [LOW, HIGH]}}}}"
            ),
            expected=tuple(undefined),
        )
    return replace(_compile(embodiment_map), text=embodiment_map.model_dump_json(by_alias=True, exclude_defaults=True))


def parse_map(text: str) -> EmbodimentMap:
    """A map with its robots from the JSON in `CompiledMap.text`.

    Raises:
        MapError: It is none.
    """
    try:
        return EmbodimentMap.model_validate_json(text)
    except ValidationError as problem:
        key, error = first_problem(problem)
        raise MapError(f"the stored map, {'.'.join(map(str, key)) or 'JSON'}: ", error) from None


def _compile(embodiment_map: EmbodimentMap) -> CompiledMap:
    source, target = embodiment_map.source, embodiment_map.target
    state, action = (_wire_groups(embodiment_map, vector) for vector in VECTORS)
    _check_kinds(embodiment_map, action)
    observed = {wire.target for group in state.values() for wire in group if wire.scale}
    trained = {
        "state": _trained_groups(embodiment_map, state, held=set()),
        "action": _trained_groups(embodiment_map, action, held=observed),
    }
    _check_trained(embodiment_map, trained)
    used = {
        wire.source for group in (*state.values(), *action.values()) for wire in group if wire.scale and not wire.held
    }
    return CompiledMap(
        name=embodiment_map.name,
        source=source,
        target=target,
        state=_make_joint_map(state, source.layout("state"), target.layout("state")),
        action=_make_joint_map(action, source.layout("action"), target.layout("action"), target.layout("state")),
        cameras=dict(embodiment_map.cameras),
        trained_state=trained["state"],
        trained_action=trained["action"],
        unused=tuple(name for name, group in source.groups.items() if used.isdisjoint(group.joints)),
        crop=embodiment_map.crop,
    )


Wiring = dict[str, list[Wire]]  # by group of the target, in its order


def _wire_groups(embodiment_map: EmbodimentMap, vector: Vector) -> Wiring:
    wiring, source = {}, Source(embodiment_map.source, vector)
    for group in embodiment_map.target.groups_of(vector):
        rule, key = embodiment_map.rule(group, vector)
        try:
            wiring[group] = apply_rule(rule, Target(embodiment_map.target, group, vector), source)
        except WrongField as problem:
            raise problem.prefix_key(*key) from None
    return wiring


def _check_kinds(embodiment_map: EmbodimentMap, action: Wiring) -> None:
    """Check action kinds: no rule can turn deltas or velocities into targets, or shift their zero."""
    layout = embodiment_map.source.layout("action")
    kinds = dict(zip(layout.joints, layout.action_kinds, strict=True))
    for group, driven in action.items():
        ours = embodiment_map.target.groups[group].action_kind
        for wire in driven:
            theirs = "target" if wire.held else kinds.get(wire.source, ours)
            if not wire.scale or (theirs == ours and (ours == "target" or abs(wire.offset) < 1e-9)):
                continue
            _, key = embodiment_map.rule(group, "action")
            raise WrongField(
                key, *_describe_kind_misfit(embodiment_map, group, wire, theirs), got=theirs, expected=ours
            )


def _describe_kind_misfit(embodiment_map: EmbodimentMap, group: str, wire: Wire, theirs: str) -> tuple[str, Remedy]:
    ours = embodiment_map.target.groups[group].action_kind
    if theirs == ours:
        return (
            f"rescale moves the zero of {wire.target!r}, a {ours}, to {wire.offset:g}; ",
            Remedy("take ranges that are symmetric about 0."),
        )
    source = f"the observed state of {wire.source!r}" if wire.held else repr(wire.source)
    return (
        f"the action of {source} is a {theirs}, that of {wire.target!r} in {group!r} a {ours}; ",
        Remedy(
            "under `action:` give this group a rule without it, such as rest, or set the same `action_kind` in both "
            "robots' files."
        ),
    )


def _trained_groups(embodiment_map: EmbodimentMap, wiring: Wiring, *, held: set[str]) -> tuple[str, ...]:
    """Groups that are driven, or named under `also_train`; holding a state that rests drives nothing.

    A robot that GR00T has a config for trains all of its groups: that config names them.
    """
    return tuple(
        name
        for name, group in wiring.items()
        if embodiment_map.target.tag is not None
        or name in embodiment_map.also_train
        or any(wire.scale and (not wire.held or wire.source in held) for wire in group)
    )


def _check_trained(embodiment_map: EmbodimentMap, trained: Mapping[str, tuple[str, ...]]) -> None:
    for vector, groups in trained.items():
        if not groups:
            raise WrongField(("groups",), f"no rule drives the {vector} of {embodiment_map.target.name!r}.")
    for group in trained["action"]:
        if embodiment_map.target.groups[group].action == "relative" and group not in trained["state"]:
            _, key = embodiment_map.rule(group, "action")
            raise WrongField(
                key,
                f"the action of {group!r} is relative to its state, which nothing drives; ",
                Remedy("drive the state too, or name the group under `also_train`."),
            )


def _make_joint_map(wiring: Wiring, source: Layout, target: Layout, observed: Layout | None = None) -> JointMap:
    every = [wire for group in wiring.values() for wire in group]
    # A constant reads no source: even 0 * NaN is NaN.
    moving = [wire for wire in every if wire.scale]
    constant = {wire.target: wire.offset for wire in every if not wire.scale}
    columns = {(joint, False): column for column, joint in enumerate(source.joints)}
    columns |= {(joint, True): source.width + i for i, joint in enumerate(observed.joints if observed else ())}
    ours = {joint: column for column, joint in enumerate(target.joints)}
    limits = [*source.limits, *([NO_LIMITS] * (observed.width if observed else 0))]
    gather = [columns[wire.source, wire.held] for wire in moving]
    return JointMap(
        gather=np.array(gather, dtype=np.int64),
        driven=np.array([ours[wire.target] for wire in moving], dtype=np.int64),
        scale=np.array([wire.scale for wire in moving], dtype=np.float64),
        offset=np.array([wire.offset for wire in moving], dtype=np.float64),
        limits=np.array(
            [wire.expected or limits[column] for wire, column in zip(moving, gather, strict=True)], dtype=np.float64
        ).reshape(-1, 2),
        rest=np.array(
            [constant.get(joint, rest) for joint, rest in zip(target.joints, target.rest, strict=True)],
            dtype=np.float32,
        ),
    )


def _load_named_robot(file: YamlFile, role: str) -> Robot:
    name_or_path = file.content[role]
    if not isinstance(name_or_path, str):
        problem = f"{role} must be a robot's name or file, got {name_or_path!r}."
        raise file.error_at((role,), MillraceError(problem, got=name_or_path, expected="a name or a file"))
    try:
        return load_robot(file.path.parent / name_or_path if is_path(name_or_path) else name_or_path)
    except UnknownName as problem:
        raise file.error_at((role,), problem) from None
