"""What conversions, merges and training input cost, each a module to run: `python -m benchmarks.convert`."""
