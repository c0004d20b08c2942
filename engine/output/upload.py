"""Upload a finished dataset, or a checkpoint, to the Hub; a stopped upload is continued."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import HubError, NotUploadable, RecipeError
from millrace.engine.hub.calls import HubName, RepoKind, call_hub, list_files, login_advice
from millrace.engine.hub.folder_upload import commit_folder, file_sizes, stray_files
from millrace.engine.hub.silence import silence_hub
from millrace.engine.layout import META, MODALITY_CONFIG, PREVIEW, REPORT, TRAINING_STATE
from millrace.engine.sources.location import parse_hub_id
from millrace.engine.validate import validate

CHECKPOINT = "config.json"
# What a dataset's files lie in; LeRobot reads every parquet file below data/. Earlier versions uploaded reports.
DATASET_FOLDERS = ("data", "videos", META, MODALITY_CONFIG, PREVIEW, REPORT)


@dataclass(frozen=True)
class UploadSize:
    """What an upload sends. num_bytes_here: of a checkpoint's files that stay here. num_replaced: files of an earlier
    upload that the repository will lose.
    """

    num_files: int
    num_bytes: int
    num_bytes_here: int
    num_replaced: int


def upload_folder(
    folder: str | Path,
    repo: str,
    *,
    kind: RepoKind = "dataset",
    private: bool = False,
    with_optimizer: bool = False,
    on_start: Callable[[UploadSize], None] = lambda size: None,
) -> str:
    """Upload a folder, check that all of it arrived, and tag a dataset with its format's version for LeRobot.

    What a repository holds of an earlier dataset is replaced: readers take every file below data/. An older commit, and
    the tag of another version of the format, keep theirs. A report stays here, and one that is there is deleted: it
    shows frames that were cropped.

    Args:
        folder: A finished, valid dataset in LeRobot v2.1 or v3.0, or a checkpoint.
        repo: org/name; made if there is none.
        kind: Whether the folder is a dataset or a model.
        private: Whether a repository that is made is private.
        with_optimizer: Whether a checkpoint's optimizer and the rest of the state of its run are uploaded, too.
        on_start: Called before anything is sent.

    Returns:
        The repository's page.

    Raises:
        NotUploadable: the folder is not finished or not valid, or links lead out of it.
        HubError: the Hub cannot be reached or does not allow it.
    """
    root = Path(folder)
    name = _parse_repo(root, repo, kind)
    check_uploadable(root, kind)
    check_token(name)
    _make_repository(name, private=private)
    without = (REPORT,) if kind == "dataset" else () if with_optimizer else TRAINING_STATE
    replaced = DATASET_FOLDERS if kind == "dataset" else ()
    sizes = file_sizes(root, without)
    num_bytes = sum(sizes.values())
    num_bytes_here = sum(file_sizes(root).values()) - num_bytes if kind == "model" else 0
    num_strays = len(stray_files(_list_files(name), sizes, replaced)) if replaced else 0
    on_start(UploadSize(len(sizes), num_bytes, num_bytes_here, num_strays))
    last = META if kind == "dataset" else CHECKPOINT
    commit_folder(root, name, last=last, replaced=replaced, without=without)
    _check_arrived(sizes, name, replaced)
    if kind == "dataset":
        _tag_version(root, name)
    return name.url


def _parse_repo(root: Path, repo: str, kind: RepoKind) -> HubName:
    """The repository; hints where folder and name were exchanged."""
    name = parse_repository(repo, kind)
    if not root.is_dir() and Path(repo).is_dir():
        advice = Remedy(f"Did you mean `millrace upload {repo} {root}`?")
        raise NotUploadable(f"there is no folder {root}. ", advice, file=root)
    return name


def parse_repository(repo: str, kind: RepoKind) -> HubName:
    """A repository's name.

    Raises:
        RecipeError: no repository can have it.
    """
    hub_id = parse_hub_id(repo)
    if hub_id is None or hub_id.revision is not None:
        raise RecipeError(
            f"datasets and models on the Hub are named org/name, not {repo!r}", got=repo, expected="org/name"
        )
    return HubName(kind, hub_id.repo)


def check_uploadable(root: Path, kind: RepoKind) -> None:
    """Check that a folder may be uploaded.

    Raises:
        NotUploadable: says why not.
    """
    if not root.is_dir():
        raise NotUploadable(f"there is no folder {root}", file=root)
    if kind == "model" and not (root / CHECKPOINT).is_file():
        problem = f"{root} is no checkpoint: it has no {CHECKPOINT}. Found: {_entries(root)}"
        raise NotUploadable(problem, file=root, expected=CHECKPOINT)
    if kind == "dataset" and not (root / META).is_dir():
        kind_of_checkpoint = Remedy("For a checkpoint say ", Setting("kind", "model"))
        advice = kind_of_checkpoint if (root / CHECKPOINT).is_file() else Remedy("Finish it first")
        problem = f"{root} is no finished dataset: it has no {META}/. "
        raise NotUploadable(problem, advice, f". Found: {_entries(root)}", file=root, expected=META)
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            problem = f"{path} is a link out of the folder, to {path.resolve()}; "
            raise NotUploadable(problem, Remedy("replace it by a copy"), file=path)
    report = validate(root) if kind == "dataset" else None
    if report is not None and not report.is_valid:
        problem = f"{root} is not valid, as `millrace validate {root}` shows: {report.errors[0]}"
        raise NotUploadable(problem, file=root)


def _entries(root: Path) -> str:
    return ", ".join(sorted(path.name for path in root.iterdir())) or "nothing"


def check_token(name: HubName) -> None:
    """Check that the user is logged in to the Hub.

    Raises:
        HubError: nobody is.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"cannot upload to {name.repo}: ", login_advice())


def _make_repository(name: HubName, *, private: bool) -> None:
    from huggingface_hub import create_repo

    with silence_hub():
        call_hub(lambda: create_repo(name.repo, repo_type=name.kind, private=private, exist_ok=True), name)


def _list_files(name: HubName) -> dict[str, int]:
    with silence_hub():
        return call_hub(lambda: list_files(name), name)


def _check_arrived(sizes: Mapping[str, int], name: HubName, replaced: Sequence[str]) -> None:
    there, again = _list_files(name), Remedy("run the same command again")
    missing = [path for path, size in sizes.items() if there.get(path) != size]
    if missing:
        raise HubError(f"{len(missing)} files are not in {name.url}, such as {missing[0]}; ", again, file=missing[0])
    if strays := stray_files(there, sizes, replaced):
        problem = f"{len(strays)} files of an earlier upload are still in {name.url}, such as {strays[0]}; "
        raise HubError(problem, again, file=strays[0])


def _tag_version(root: Path, name: HubName) -> None:
    """Tag what was uploaded with its format's version, as LeRobot loads no dataset without; an older tag is moved."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    api, version = HfApi(), json.loads((root / META / "info.json").read_bytes())["codebase_version"]

    def delete() -> None:
        with suppress(RevisionNotFoundError):  # an answer that was lost
            api.delete_tag(name.repo, tag=version, repo_type=name.kind)

    with silence_hub():
        refs = call_hub(lambda: api.list_repo_refs(name.repo, repo_type=name.kind), name)
        newest = next(branch.target_commit for branch in refs.branches if branch.name == "main")
        tagged = {tag.name: tag.target_commit for tag in refs.tags}
        if version in tagged and tagged[version] != newest:
            call_hub(delete, name)
        if tagged.get(version) != newest:
            call_hub(
                lambda: api.create_tag(name.repo, tag=version, revision=newest, repo_type=name.kind, exist_ok=True),
                name,
            )
