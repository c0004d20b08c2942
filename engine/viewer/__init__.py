"""One episode as a recording for the rerun viewer: cameras, joints and tasks, and its source beside it."""

from millrace.engine.viewer.view_episode import ViewedEpisode, ViewOptions, view_episode

__all__ = ["ViewOptions", "ViewedEpisode", "view_episode"]
