"""`millrace serve`."""

import json
import sys
from dataclasses import dataclass
from typing import TextIO

from millrace.commands.json_stdout import keep_stdout
from millrace.engine.text import printable
from millrace.train.flag_types import Flag
from millrace.train.serve import ServeSettings
from millrace.train.server_access import join_address


@dataclass(frozen=True, kw_only=True)
class Serve(ServeSettings):
    """Serve a checkpoint with GR00T's own inference server, under the tag and config that it was finetuned with.

    With --robot it takes a robot's own images and joints, of the kind that the dataset was recorded with, and gives its
    joint targets at its own rate; millrace.client is a client of it. Only this machine can reach the server unless
    --host says otherwise. Anyone who reaches it can use and stop it, unless --token-file or --api-token-env names a
    token; requests are not encrypted. Examples:

    millrace serve checkpoints/aloha/checkpoint-5000

    millrace serve checkpoints/aloha/checkpoint-5000 --robot aloha --control-hz 50

    millrace serve checkpoints/aloha/checkpoint-5000 --use-sim-policy-wrapper --port 5556

    millrace serve checkpoints/aloha/checkpoint-5000 --robot aloha --json

    POLICY_TOKEN=secret millrace serve checkpoints/aloha/checkpoint-5000 --host 0.0.0.0 --api-token-env POLICY_TOKEN
    """

    json: Flag = False
    """Print one line of JSON once the server listens: its address, the robot, whether it needs a token. An error, too;
    all else goes to standard error."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "server stopped"

    def run(self) -> int:
        """Check and load the checkpoint, then answer requests until a client stops the server."""
        with keep_stdout(self.json) as stdout:
            self._serve(stdout)
        return 0

    def _serve(self, stdout: TextIO) -> None:
        from millrace.train.groot import serve
        from millrace.train.installed import require_groot
        from millrace.train.preflight.evaluation import check_backbone

        self.check_address()
        tag, notes = self.tag()
        self.check_access()
        require_groot(self.gr00t)
        check_backbone(self.checkpoint)
        if self.is_open:
            notes = (
                *notes,
                f"anyone who reaches {self.host} can use and stop the server: pass --token-file or --api-token-env",
            )
        for note in notes:
            print(printable(f"warning: {note}"), file=sys.stderr)
        for line in (*self.frame_lines(), self.joint_line()):
            print(printable(line))
        print(
            printable(f"loading {self.checkpoint} as {tag.upper()}, for {join_address(self.host, self.port)}"),
            flush=True,
        )

        def on_listening(address: str) -> None:
            if self.json:
                print(json.dumps(self.describe(address, tag)), file=stdout, flush=True)

        serve(self, tag, on_listening=on_listening)
