"""A dataset's folder: begun, filled, resumed and finished."""
