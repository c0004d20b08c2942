"""A modality config as JSON, for processes without gr00t: `python -m millrace.train.groot.describe TAG [FILE.py]`.

Of a tag that GR00T has one for, or what a file registers, which is run for that: in a process of its own, as a config
can be registered once only.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
from gr00t.data.types import ActionConfig, ModalityConfig


def main(tag: str, file: str | None = None) -> None:
    """Print the config on the last line of the output; null where there is none.

    Args:
        tag: EmbodimentTag's value, such as "unitree_g1".
        file: Python that registers a config for some tag, which is then described instead.
    """
    config = MODALITY_CONFIGS.get(tag) if file is None else _registered_by(Path(file))
    sys.stdout.write("\n" + json.dumps(config and {name: _modality(entry) for name, entry in config.items()}) + "\n")


def _registered_by(file: Path) -> dict[str, ModalityConfig] | None:
    before = set(MODALITY_CONFIGS)
    spec = importlib.util.spec_from_file_location("described_modality_config", file)
    if spec is None or spec.loader is None:
        return None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    new = [tag for tag in MODALITY_CONFIGS if tag not in before]
    return MODALITY_CONFIGS[new[0]] if new else None


def _modality(config: ModalityConfig) -> dict[str, Any]:
    actions = config.action_configs
    return {
        "modality_keys": config.modality_keys,
        "delta_indices": config.delta_indices,
        "action_configs": None if actions is None else [_action(action) for action in actions],
        "sin_cos_embedding_keys": config.sin_cos_embedding_keys,
    }


def _action(action: ActionConfig) -> dict[str, Any]:
    return {"rep": action.rep.name, "type": action.type.name, "state_key": action.state_key}


if __name__ == "__main__":
    main(*sys.argv[1:])
