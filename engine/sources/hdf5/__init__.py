"""HDF5 recordings: a file for each episode (ACT), or many episodes in a file (robomimic, LIBERO, Isaac Lab)."""

from millrace.engine.sources.hdf5.hdf5_source import fits, open_recordings

__all__ = ["fits", "open_recordings"]
