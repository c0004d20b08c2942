"""Whether a model on the Hub that GR00T loads beside the base model is within reach: cached, or gated and allowed."""

from dataclasses import dataclass
from pathlib import Path

from millrace.train.checkpoint_files import HUB_NAME

# What is asked of the Hub, and what the cache must hold beside it.
CONFIG, WEIGHTS = "config.json", ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Unreachable:
    """Why a backbone cannot be loaded, and what to do."""

    why: str
    remedy: str


def why_no_backbone(name: str) -> Unreachable | None:
    """Why GR00T could not load its backbone; None if it can.

    Args:
        name: A folder, or a model on the Hub, which is asked where its cache lacks the model.
    """
    if Path(name).is_dir() or _is_cached(name):
        return None
    if not HUB_NAME.fullmatch(name):
        return Unreachable(f"there is no folder {name}", "Name a folder with the backbone, or a model on the Hub")
    return _ask_hub(name)


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [isinstance(try_to_load_from_cache(name, file), str) for file in (CONFIG, *WEIGHTS)]
    except HFValidationError:
        return False
    return found[0] and any(found[1:])


def _ask_hub(name: str) -> Unreachable | None:
    from huggingface_hub import constants, get_token, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    accept = f"Accept its licence at {constants.ENDPOINT}/{name}"
    login = "log in with `hf auth login`, or set HF_TOKEN"
    lacking = f"{name} is not in the Hub's cache"
    if constants.HF_HUB_OFFLINE:
        remedy = f"Download it where the Hub is within reach: hf download {name}. {accept} first"
        return Unreachable(f"{lacking}, and HF_HUB_OFFLINE is set", remedy)
    token = get_token()
    try:
        hf_hub_download(name, CONFIG, token=token, endpoint=constants.ENDPOINT)
    except GatedRepoError:
        if token is None:
            return Unreachable(f"{lacking}, it is gated, and there is no token of the Hub", f"{accept}, then {login}")
        why = f"{lacking}, it is gated, and the token's user has not accepted its licence"
        return Unreachable(why, f"{accept} as the user of the token")
    except RepositoryNotFoundError:
        # The Hub says so of what a token may not see, and of a token that it does not know.
        return Unreachable(f"{lacking}, and the Hub shows no such model to this user", f"{accept}, then {login}")
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = type(error.__cause__ or error).__name__
        remedy = f"Try again, or download it where the Hub is within reach: hf download {name}"
        return Unreachable(f"{lacking}, and the Hub is not reached ({reason})", remedy)
    return None
