"""HDF5 recordings: a file for each episode (ACT), or many episodes in a file (robomimic, LIBERO, Isaac Lab)."""

from millrace.engine.sources.hdf5.hdf5_folders import SUFFIXES, fits, list_recordings
from millrace.engine.sources.hdf5.hdf5_source import open_recording, open_recordings

__all__ = ["SUFFIXES", "fits", "list_recordings", "open_recording", "open_recordings"]
