"""Draft a robot file from a dataset: joint names, groups, units and cameras."""
