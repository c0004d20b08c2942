"""Which variables of the command's environment reach workers on other machines, and which of them are secret."""

from pathlib import Path

from millrace.train.environment import WorkerEnvironment

ENVIRON = {
    "HF_HOME": "/data/hf",
    "HF_TOKEN": "hf_secret",
    "HOME": "/home/me",
    "NCCL_SOCKET_IFNAME": "eth1",
    "PATH": "/bin",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "online",
}


def test_workers_on_a_cluster_get_what_configures_libraries_and_no_log_gets_secrets(tmp_path: Path) -> None:
    found = WorkerEnvironment.take(ENVIRON, tmp_path, address="auto")
    assert found.secrets == {"HF_TOKEN": "hf_secret"}
    assert found.shown == {
        "HF_HOME": "/data/hf",
        "NCCL_SOCKET_IFNAME": "eth1",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "online",
    }
    assert found.names == ["HF_HOME", "HF_TOKEN", "NCCL_SOCKET_IFNAME", "TOKENIZERS_PARALLELISM", "WANDB_MODE"]
    assert "hf_secret" not in repr(found)


def test_workers_of_this_machine_inherit_everything(tmp_path: Path) -> None:
    assert WorkerEnvironment.take(ENVIRON, tmp_path, address=None) == WorkerEnvironment()


def test_a_login_in_netrc_reaches_workers_as_a_secret(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password w_secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    found = WorkerEnvironment.take(ENVIRON, tmp_path, address="auto")
    assert found.secrets == {"HF_TOKEN": "hf_secret", "WANDB_API_KEY": "w_secret"}
    given = WorkerEnvironment.take({**ENVIRON, "WANDB_API_KEY": "mine"}, tmp_path, address="auto")
    assert given.secrets["WANDB_API_KEY"] == "mine"
