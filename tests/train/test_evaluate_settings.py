"""What an evaluation is told: flags that contradict each other, episodes by number, a server's address."""

from pathlib import Path
from typing import Any

import pytest

from millrace.commands.evaluate import Evaluate
from millrace.train.errors import SettingsError
from millrace.train.evaluate import read_contenders
from millrace.train.evaluate_settings import EvaluateSettings, ServerAddress


def asking(*episodes: slice | int) -> EvaluateSettings:
    return EvaluateSettings(dataset=Path("out"), checkpoints=("c",), episodes=episodes)


@pytest.mark.parametrize(
    ("paths", "flags", "message"),
    [
        ((), {}, "evaluate takes CHECKPOINT ... DATASET, or --server HOST:PORT and DATASET"),
        (("out",), {}, "evaluate takes CHECKPOINT ... DATASET, or server=HOST:PORT and DATASET"),
        (("checkpoint-1", "out"), {"server": "h:1"}, "server evaluates what the server holds: name the dataset"),
        (("out",), {"server": "5555"}, "server takes HOST:PORT, for example 127.0.0.1:5555 or [::1]:5555, not '5555'"),
        (("out",), {"server": "h:99999"}, "server takes HOST:PORT"),
        (("out",), {"server": "h:1", "timeout": 0.0}, "timeout=0.0: must be above 0 seconds"),
        (("c", "out"), {"use_sim_policy_wrapper": True}, "tells how a server was started"),
        (("c", "out"), {"horizon": 0}, "horizon=0: at least one step"),
        (("c", "out"), {"num_gpus": -1}, "num_gpus=-1: must be at least 0"),
        (("c", "out"), {"episodes": "a"}, "--episodes: episodes are given as A:B"),
    ],
)
def test_flags_that_make_no_sense_are_errors(paths: tuple[str, ...], flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Evaluate(paths=paths, **flags).settings()
    assert message in str(caught.value)


def test_episodes_are_chosen_by_number_and_range() -> None:
    asked = asking(7, slice(0, 3))
    assert asked.select_episodes([0, 2, 3, 7, 8]) == (0, 2, 7)
    assert asking().select_episodes([4, 2]) == (2, 4)
    with pytest.raises(SettingsError, match=r"episodes: out has no episode 7; it has 3, the last is 9"):
        asked.select_episodes([0, 1, 9])
    with pytest.raises(SettingsError, match="episodes selects none of the 2 episodes of out"):
        asking(slice(5, 6)).select_episodes([0, 1])


def test_a_server_is_one_address() -> None:
    assert ServerAddress.parse("127.0.0.1:5555") == ServerAddress("127.0.0.1", 5555)
    asked = EvaluateSettings(dataset=Path("out"), server=ServerAddress("h", 1))
    assert asked.in_process
    assert [contender.name for contender in read_contenders(asked)[0]] == ["h:1"]
