"""What GR00T's pyproject.toml installs, a line each, but for what needs a GPU and nothing here imports.

python pins.py ISAAC_GROOT/pyproject.toml > pins.txt
"""

import re
import sys
from pathlib import Path

from pip._vendor import tomli  # Python 3.10 has no tomllib

LEFT_OUT = re.compile(r"(flash-attn|tensorrt|onnx)", re.IGNORECASE)


def list_pins(pyproject: Path) -> list[str]:
    """The requirements."""
    dependencies: list[str] = tomli.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [line for line in dependencies if not LEFT_OUT.match(line)]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in list_pins(Path(sys.argv[1]))))
