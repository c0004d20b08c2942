"""The section `rollout` of a pipeline file: a simulated robot, driven by what was trained."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from millrace.commands.json_output import to_json_text
from millrace.commands.pipeline_file import PipelineFile, StepKind, digest_datasets, dump_settings, file_digest
from millrace.commands.pipeline_results import choose_checkpoint
from millrace.commands.rollout import RollOut, print_rollout
from millrace.commands.rollout_policies import REPLAY, is_replay, is_server
from millrace.commands.tables import make_console
from millrace.engine.dataset.releases import GrootChoice
from millrace.train.pipeline import Step
from millrace.train.settings import FinetuneSettings
from millrace.train.whole_file import replace_file

OUTCOME = "rollout.json"  # in the run's folder, unless the file says otherwise

ROLLOUT = StepKind(
    RollOut,
    excluded=("policy", "json"),
    extra={"policy": str, "json": Path, "checkpoint": Literal["best", "last"]},
)


def rollout_step(
    file: PipelineFile, run: FinetuneSettings | None, report: Path | None, *, gr00t: GrootChoice = "auto"
) -> Step | None:
    """The step of the section `rollout`; None without such a section, or a sound one.

    Args:
        file: The file.
        run: That of the section `finetune`, if there is a sound one.
        report: The file with the scores of the section `evaluate`, if there is a sound one.
        gr00t: The release of GR00T that loads a checkpoint.
    """
    values = file.section("rollout", ROLLOUT)
    if values is None:
        return None
    named, choice, outcome = (values.pop(key, None) for key in ("policy", "checkpoint", "json"))
    outcome = outcome or (None if run is None else run.run_folder / OUTCOME)
    _check_policy(file, named, choice, instruction=values.get("instruction"))
    if outcome is None and "finetune" not in file.content:
        file.add(("rollout",), "json is missing: the file by which it is known that this is done")
    if outcome is None or (named is None and run is None):
        return None
    policy = None if named is None else _resolve_policy(named, file.folder)
    replayed = Path(policy.removeprefix(REPLAY)) if policy is not None and is_replay(policy) else None
    driver = _Driver(policy, run, None if choice == "last" else report)
    command = RollOut(policy=driver.summary, **values)
    file.attempt("rollout", command.check_counts)
    return Step(
        "rollout",
        f"{driver.summary} in {command.env} into {outcome}",
        dump_settings(asdict(command) | {"json": outcome}, (*command.import_module, command.adapter)),
        lambda: _roll_out(replace(command, policy=driver.find()), outcome),
        lambda: file_digest(outcome),
        judge=lambda: _list_lacks(command, policy, gr00t),
        is_input=False,
        read_inputs=lambda: None if replayed is None else digest_datasets([replayed]),
    )


@dataclass(frozen=True)
class _Driver:
    """What drives: the policy that is named, or a checkpoint of the run, the best one where there are scores."""

    policy: str | None
    run: FinetuneSettings | None
    scores: Path | None

    @property
    def summary(self) -> str:
        """What it is, before the checkpoint is made."""
        which = "last" if self.scores is None else "best"
        return self.policy or f"the {which} checkpoint of {'' if self.run is None else self.run.run_folder}"

    def find(self) -> str:
        """The policy, now that it is there."""
        return self.policy or str(choose_checkpoint(self.run, self.scores))


def _roll_out(command: RollOut, outcome: Path) -> int:
    found = command.roll_out()
    outcome.parent.mkdir(parents=True, exist_ok=True)
    replace_file(outcome, to_json_text(found.model_dump()) + "\n")
    print_rollout(found, make_console())
    return 0


def _list_lacks(command: RollOut, policy: str | None, gr00t: GrootChoice) -> Iterator[str]:
    """What the rollout lacks, a line for each; policy: the one that is named."""
    from millrace.train.preflight.rollout_needs import environment_problems, policy_problems

    yield from environment_problems(command.env, command.adapter)
    if policy is None or not (is_replay(policy) or is_server(policy)):
        if policy is not None and not Path(policy).is_dir():
            yield f"there is no checkpoint at {policy}"
        yield from policy_problems(command.import_module, device=command.device, gr00t=gr00t)


def _check_policy(file: PipelineFile, named: str | None, choice: str | None, *, instruction: str | None) -> None:
    """Add what is wrong with the choice of what drives."""
    if named is not None and choice is not None:
        problem = "checkpoint chooses one of finetune's; policy names another: give one of them"
        file.add(("rollout", "checkpoint"), problem)
    if named is None and "finetune" not in file.content:
        file.add(("rollout",), "policy is missing: there is no section finetune that makes one")
    if choice == "best" and "evaluate" not in file.content:
        file.add(("rollout", "checkpoint"), "best is known only where a section evaluate scores the checkpoints")
    if instruction is None and not (named is not None and is_replay(named)):
        file.add(("rollout",), "instruction is missing: a policy is told what to do")


def _resolve_policy(policy: str, folder: Path) -> str:
    """A policy whose folder, if it has one, is relative to the file."""
    if is_replay(policy):
        return f"{REPLAY}{folder / policy.removeprefix(REPLAY)}"
    return policy if is_server(policy) else str(folder / policy)
