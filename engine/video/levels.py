"""Levels, 0 (black) to WHITE, by which frames count as black or unchanged."""

WHITE = 255
# A mean below this is black; night scenes lie above.
BLACK_LEVEL = 8
# What any cell may change by in a frame that does not change. Coding noise of x264 and SVT-AV1 reaches 8 at sharp
# edges; an arm that moves changes some cells by 30 and more.
STILL_LEVELS = 10
