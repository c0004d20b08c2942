"""`millrace serve`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import UseAppendAction, arg

from millrace.commands.flags import Flag
from millrace.engine.dataset.releases import EmbodimentTag
from millrace.engine.text import printable
from millrace.train.serve import DEFAULT_PORT, ServeSettings


@dataclass(frozen=True)
class Serve:
    """Serve a checkpoint with GR00T's own inference server, under the tag and config that it was finetuned with.

    Only this machine can reach it unless --host says otherwise: anyone who reaches it can use and stop it. Examples:

    millrace serve checkpoints/aloha/checkpoint-5000

    millrace serve checkpoints/aloha/checkpoint-5000 --use-sim-policy-wrapper --port 5556
    """

    checkpoint: Annotated[str, tyro.conf.Positional, arg(metavar="CHECKPOINT")]
    """Folder of the checkpoint, or a model's name on the Hugging Face Hub."""
    use_sim_policy_wrapper: Flag = False
    """Take observations and give actions as GR00T's simulators do."""
    embodiment_tag: EmbodimentTag | None = None
    """The robot, as GR00T calls it; by default as the checkpoint was finetuned."""
    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets every machine of the network in."""
    port: Annotated[int, arg(metavar="PORT")] = DEFAULT_PORT
    """Port to listen on."""
    device: Annotated[str, arg(metavar="DEVICE")] = "cuda"
    """Where the model runs: cuda, cuda:1, or cpu."""
    import_module: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """A Python file to import first, such as a model type of your own; may be given again."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "server stopped"

    def run(self) -> int:
        """Check and load the checkpoint, then answer requests until a client stops the server."""
        from millrace.train.groot import require_groot, serve

        settings = ServeSettings(
            checkpoint=self.checkpoint,
            embodiment_tag=self.embodiment_tag,
            host=self.host,
            port=self.port,
            device=self.device,
            use_sim_policy_wrapper=self.use_sim_policy_wrapper,
            import_module=self.import_module,
        )
        settings.check_address()
        tag, notes = settings.tag()
        require_groot()
        for note in notes:
            print(printable(f"warning: {note}"), file=sys.stderr)
        for line in settings.frame_lines():
            print(printable(line))
        print(printable(f"loading {self.checkpoint} as {tag.upper()}, for {self.host}:{self.port}"), flush=True)
        serve(settings, tag)
        return 0
