"""Fingerprints beside statistics, by which GR00T N1.7 sees that they fit a dataset and a modality config.

Since July 2026 GR00T computes statistics without a matching fingerprint again and rewrites the file. A fingerprint is a
digest of what describes the numbers, not of the numbers (gr00t/data/stats.py, `_compute_stats_fingerprint` and
`_compute_relative_action_fingerprint`).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from millrace.engine.dataset.modality_config import GrootConfig

# The key of all fingerprints of a file. N1.6 looks features up by name in stats.json, so that it reads on; in
# relative_stats.json it takes every key for a joint group, and stops at this one.
FINGERPRINTS = "__fingerprints__"


def feature_fingerprints(features: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprint due for each float feature in stats.json; features: those of info.json, as JSON holds them."""
    floats = {name: feature for name, feature in features.items() if "float" in str(feature.get("dtype"))}
    return {
        name: _digest({"feature": name, "dtype": feature.get("dtype"), "shape": feature.get("shape")})
        for name, feature in floats.items()
    }


def relative_fingerprints(config: GrootConfig, tag: str) -> dict[str, str]:
    """The fingerprint due for each RELATIVE action key in relative_stats.json.

    Args:
        config: The modality config that is trained.
        tag: EmbodimentTag's value, such as "new_embodiment".

    Returns:
        By key; empty where the config has no state.
    """
    if "state" not in config.modalities:
        return {}
    return {
        key: _digest(
            {
                "embodiment_tag": tag,
                "action_key": key,
                "action_delta_indices": list(config.modalities["action"].delta_indices),
                "state_delta_indices": list(config.modalities["state"].delta_indices),
                "rep": action.rep,
                "type": action.type,
                "format": action.format,
                "state_key": action.state_key,
            }
        )
        for key, action in config.relative.items()
    }


def _digest(facts: Mapping[str, object]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
