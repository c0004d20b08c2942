"""The program `millrace`, also as `python -m millrace`."""

import os
import sys

STOPPED = 130  # as shells report a Ctrl-C


def main() -> int:
    """Import the commands and run one; a Ctrl-C while they are imported, about a second, prints no traceback."""
    try:
        from millrace.cli import main as run

        code = run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = STOPPED
    if code == STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # all is closed; an interpreter that ends waits for threads, and those may wait for the Hub
    return code


if __name__ == "__main__":
    sys.exit(main())
