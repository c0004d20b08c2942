"""The GR00T of this machine: what `millrace doctor` says of it."""

from collections.abc import Iterator, Mapping

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.releases import GrootChoice, Release, find_release
from millrace.train.installed import find_installed, how_to_get
from millrace.train.preflight.backbone import why_no_backbone
from millrace.train.preflight.packages import why_not_importable
from millrace.train.preflight.pinned_versions import PYTHON, fitting_build, list_differences, read_versions
from millrace.train.preflight.surroundings import FFMPEG


class GrootReport(FrozenModel):
    """What there is of GR00T.

    Args:
        release: Name of the installed release; None where none is installed that Millrace trains.
        folder: Of the package gr00t; None: there is none.
        versions: Of Python and of what the release pins, by name; None: not installed.
        lacking_flags: Flags of the release that this build does not have.
        problems: What does not work, or differs from what the release pins, each with what to do.
    """

    release: str | None
    folder: str | None
    versions: dict[str, str | None]
    lacking_flags: tuple[str, ...]
    problems: tuple[str, ...]


def report_groot(choice: GrootChoice) -> GrootReport:
    """Look at the installed GR00T; packages that it needs are tried in processes of their own.

    Args:
        choice: The release that should be installed, or "auto".
    """
    installed = find_installed()
    asked = None if choice == "auto" else find_release(choice)
    release = None if installed is None else installed.release
    folder = None if installed is None else ", ".join(map(str, installed.folders))
    if installed is None or release is None or (asked is not None and release != asked):
        name = None if release is None else release.name
        found = "no GR00T is installed" if folder is None else f"{folder} is {name or 'no known release'}"
        wanted = "" if asked is None else f", {asked.name} is asked for"
        problems = () if folder is None and asked is None else (f"{found}{wanted}. {how_to_get(asked)}",)
        return GrootReport(release=name, folder=folder, versions={}, lacking_flags=(), problems=problems)
    versions = read_versions(release)
    return GrootReport(
        release=release.name,
        folder=folder,
        versions=dict(versions),
        lacking_flags=tuple(name for name, field in release.flags.items() if not installed.has(field)),
        problems=tuple(_problems(release, versions)),
    )


def _problems(release: Release, versions: Mapping[str, str | None]) -> Iterator[str]:
    build = fitting_build(release, versions[PYTHON])
    if build is None:
        yield f"Python {versions[PYTHON]}: it has builds for {', '.join(release.pythons)}"
    else:
        yield from list_differences(build, versions).values()
    pins = (build or release.builds[0]).pins
    if reason := why_not_importable("torchcodec"):
        yield f"torchcodec, by which evaluate and --stock-loader decode, cannot be imported: {reason}. {FFMPEG}"
    if reason := why_not_importable("flash_attn"):
        need = "needs" if release.needs_flash_attention else "is faster on GPUs with"
        install = f"pip install {pins['flash-attn']}"
        yield f"{release.backbone} {need} flash-attn, which cannot be imported: {reason}. {install}"
    if release.gated_backbone is not None and (found := why_no_backbone(release.gated_backbone)):
        yield f"{found.why}. {found.remedy}"
