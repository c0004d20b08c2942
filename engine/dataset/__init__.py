"""A GR00T dataset on disk, whoever made it: metadata, rows, statistics, manifest, checks."""
