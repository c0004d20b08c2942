"""The dataset card: README.md in the output's root."""

from collections import Counter
from collections.abc import Iterable, Sequence

from millrace.engine.dataset.releases import DEFAULT_TAG, RELEASES, name_releases
from millrace.engine.fps import format_fps
from millrace.engine.layout import ACTION, MODALITY_CONFIG, STATE, camera_key
from millrace.engine.output.card_facts import (
    CardFacts,
    describe_licences,
    describe_resampling,
    describe_size,
    find_tag_release,
    front_matter,
    join_licences,
    source_link,
)
from millrace.engine.output.card_sections import held_out_section, left_out_section, preview_section, recipe_section
from millrace.engine.output.warning_sums import WarningSum, remove_roots
from millrace.engine.planning import ConversionPlan
from millrace.engine.sources import public_name
from millrace.engine.text import code_cell, code_span

CARD = """\
{front}
# {title}

A LeRobot v2.1 dataset for NVIDIA GR00T {releases}, converted by Millrace.

{preview}| | |
|---|---|
| robot | {robot} |
| episodes, frames | {num_episodes}, {num_frames} at {fps} Hz |
| size | {size} |
| licence | {licence} |
| cameras | {cameras} |
| images | {images} |
| resampling | {resampling} |
| map | {map} |
| action chunk | {horizon} steps |

## Layout

| group | `{state}` | `{action}` | trained |
|---|---|---|---|
{groups}

{sources}{left_out}{held_out}{notes}{warnings}## Tasks

{tasks}

{load}

## Train

{own_tag}With NVIDIA's launcher, from a checkout of Isaac-GR00T:

    python -m gr00t.experiment.launch_finetune --base-model-path {base_model} \\
        --dataset-path DATASET --embodiment-tag {default_tag} \\
        --modality-config-path DATASET/{config}

The base models are {base_models}.

Newer builds of GR00T {newest} compute relative statistics again unless these have fingerprints, and rewrite them so
that {oldest} stops at them. For their launcher make a view, which leaves this dataset as it is, and pass
`--dataset-path VIEW`:

    millrace groot-view DATASET VIEW --gr00t {choice} --embodiment-tag {default_tag}

`millrace finetune` needs none of that.

{recipe}"""
LOAD = f"""\
## Load

With LeRobot 0.3, which reads this layout (from 0.4 on it reads v3.0, which Millrace makes as well), from the Hub,
where ORG/NAME is this repository, or from a folder:

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("ORG/NAME")  # or of a folder: LeRobotDataset("ORG/NAME", root="FOLDER")

With GR00T's own loader, from a folder:

    import runpy

    from gr00t.data.dataset.lerobot_episode_loader import LeRobotEpisodeLoader

    config = runpy.run_path("FOLDER/{MODALITY_CONFIG}")["CONFIG"]
    episode = LeRobotEpisodeLoader("FOLDER", config)[0]"""
OWN_TAG = """\
GR00T {release} knows this robot under its own tag, with a modality config of its own, so that none is given:

    python -m gr00t.experiment.launch_finetune --base-model-path {base_model} \\
        --dataset-path DATASET --embodiment-tag {tag}

Or as a new embodiment. """
SOURCES = """\
## Sources

| dataset | episodes | frames | map | licence |
|---|---|---|---|---|
{rows}

"""
NOTES = """\
## {title}

{lines}

"""
WHOLE = "all of each, without bars (`crop: none`), which GR00T pads to squares as it does live ones"
FRAMING = {
    ("center", True): "the centre square of each (`crop: center`): crop live frames likewise, as GR00T would pad them",
    ("center", False): "the centre of each, of this aspect (`crop: center`): crop live frames likewise",
    ("pad", True): "all of each, with black bars where it is not square (`crop: pad`), as GR00T makes live ones",
    ("pad", False): "all of each, with black bars where its aspect is another (`crop: pad`): pad live frames likewise",
    ("none", True): WHOLE,
    ("none", False): WHOLE,
}
MAX_TASKS = 20


def dataset_card(plan: ConversionPlan, warnings: Sequence[WarningSum] = (), facts: CardFacts | None = None) -> str:
    """The card's text; the same for the same recipe and sources."""
    facts = facts or CardFacts()
    return CARD.format(
        front=front_matter(facts, ["LeRobot", "GR00T", plan.target.name], num_frames=plan.num_frames),
        preview=preview_section(facts),
        size=describe_size(facts, plan.num_frames, plan.job.video.fps),
        licence=describe_licences(facts),
        resampling=_resampling(plan),
        left_out=left_out_section(facts),
        held_out=held_out_section(facts),
        recipe=recipe_section(facts),
        load=LOAD,
        robot=plan.target.name,
        title=f"{plan.target.name} at {format_fps(plan.job.video.fps)} Hz",
        num_episodes=len(plan.episodes),
        num_frames=plan.num_frames,
        fps=format_fps(plan.job.video.fps),
        cameras=_cameras(plan),
        images=_framing(plan),
        map=code_cell(plan.map.name),
        horizon=plan.horizon,
        state=STATE,
        action=ACTION,
        groups="\n".join(_group_rows(plan)),
        sources=SOURCES.format(rows="\n".join(_source_rows(plan, facts))),
        notes=_section("Notes", (remove_roots(note, plan) for note in plan.notes)),
        warnings=_section("Warnings", map(str, warnings)),
        tasks="\n".join(_task_lines(plan.tasks)),
        own_tag=_own_tag(plan.target.tag),
        config=MODALITY_CONFIG,
        releases=name_releases(),
        oldest=RELEASES[0].name,
        newest=RELEASES[-1].name,
        choice=RELEASES[-1].choice,
        base_model=RELEASES[0].base_model,
        base_models=" and ".join(f"`{release.base_model}` for {release.name}" for release in RELEASES),
        default_tag=DEFAULT_TAG,
    )


def _cameras(plan: ConversionPlan) -> str:
    """The cameras and their size, or the size of each."""
    keys = {f"`{camera_key(camera)}`": plan.job.sizes[camera] for camera in plan.cameras}
    if not keys:
        return "none"
    if len(sizes := set(keys.values())) == 1:
        return f"{', '.join(keys)}, {sizes.pop()} H.264"
    return ", ".join(f"{key} {size}" for key, size in keys.items()) + ", H.264"


def _framing(plan: ConversionPlan) -> str:
    return FRAMING[plan.job.crop, all(size.is_square for size in plan.job.sizes.values())]


def _resampling(plan: ConversionPlan) -> str:
    rates = [binding.fps for binding in plan.job.bindings]
    settings = {"resample": plan.job.resample, "action": plan.job.action}
    return describe_resampling(rates, plan.job.video.fps, settings)


def _own_tag(tag: str | None) -> str:
    """How to train under the robot's own tag, by the first release that has a config for it."""
    known = find_tag_release(tag)
    return "" if known is None else OWN_TAG.format(release=known.name, base_model=known.base_model, tag=tag)


def _group_rows(plan: ConversionPlan) -> list[str]:
    state, action = plan.target.layout("state").slices, plan.target.layout("action").slices
    trained = dict.fromkeys(plan.map.trained_state, "state only")
    trained |= {group: plan.target.groups[group].action for group in plan.map.trained_action}
    return [
        f"| {group} | {_slice(state.get(group))} | {_slice(action.get(group))} | {trained.get(group, 'no')} |"
        for group in plan.target.groups
    ]


def _slice(place: slice | None) -> str:
    return "" if place is None else f"{place.start}:{place.stop}"


def _source_rows(plan: ConversionPlan, facts: CardFacts) -> list[str]:
    num_episodes, num_frames = Counter[int](), Counter[int]()
    for episode in plan.episodes:
        num_episodes[episode.binding] += 1
        num_frames[episode.binding] += episode.num_frames
    licences = facts.licences if facts.head else [() for _ in plan.job.bindings]
    return [
        f"| {source_link(public_name(binding.source.path, binding.revision))} | {num_episodes[number]} "
        f"| {num_frames[number]} | {code_cell(binding.map.name)} | {join_licences(licences[number])} |"
        for number, binding in enumerate(plan.job.bindings)
    ]


def _section(title: str, texts: Iterable[str]) -> str:
    lines = "\n".join(f"- {code_span(text)}" for text in texts)
    return NOTES.format(title=title, lines=lines) if lines else ""


def _task_lines(tasks: tuple[str, ...]) -> list[str]:
    shown = [f"- {code_span(task)}" for task in tasks[:MAX_TASKS]]
    return shown if len(tasks) <= MAX_TASKS else [*shown, f"- and {len(tasks) - MAX_TASKS} more"]
