"""Start the server process that all loader processes of a rank are forked from."""

import multiprocessing
from multiprocessing import forkserver

from millrace.train.settings import FinetuneSettings

IMPORTS = "millrace.train.groot.loader_imports"


def prepare_loader_processes(settings: FinetuneSettings) -> None:
    """Let a server import torch, transformers and gr00t once while this process loads the model.

    Else each loader imports them, which takes seconds of CPU time and hundreds of megabytes for every one. A server
    that runs already keeps what it has imported.
    """
    if settings.dataloader_num_workers and settings.multiprocessing_context == "forkserver":
        multiprocessing.set_forkserver_preload([IMPORTS])
        forkserver.ensure_running()
