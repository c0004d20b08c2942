"""Whether the release of GR00T has the flags of a run: builds of one release differ, as their config classes tell."""

from collections.abc import Iterator
from dataclasses import fields

from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import RELEASES
from millrace.train.finetune_flags import FinetuneFlags
from millrace.train.installed import Installed
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.settings import FinetuneSettings

DEFAULTS = {field.name: field.default for field in fields(FinetuneFlags)}


def release_flag_problems(settings: FinetuneSettings, installed: Installed | None) -> Iterator[Problem]:
    """A problem for each flag that is set, and that the release, or its installed build, does not have.

    Args:
        settings: Of the run.
        installed: The package gr00t; None, or of another release: its build is not judged.
    """
    release = settings.release
    for name in sorted({flag for one in RELEASES for flag in one.flags}):
        if getattr(settings, name) == DEFAULTS[name]:
            continue
        flag, field = f"--{name.replace('_', '-')}", release.flags.get(name)
        if field is None:
            have = " and ".join(one.name for one in RELEASES if name in one.flags)
            message, remedy = f"{flag}: GR00T {release.name} has no such flag, {have} has", "Leave it out"
        elif installed is None or installed.release != release or installed.has(field):
            continue
        else:
            where = ", ".join(map(str, installed.folders))
            message = f"{flag}: the GR00T {release.name} in {where} has no such flag: {field.owner} has no {field.name}"
            remedy = f"Leave it out, or install another build of {release.name}"
        yield make_run_problem("release-flag", message, remedy=remedy)
