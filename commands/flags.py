"""What the commands' flags share."""

import tyro

Flag = tyro.conf.FlagCreatePairsOff[bool]
"""A switch, off unless named: --deep, without --no-deep."""
