"""Levels of 0 (black) to WHITE at which pictures are taken for black, or for the same."""

WHITE = 255
# A mean below this is black; night scenes lie above.
BLACK_LEVEL = 8
# What any cell may change by in a picture that stands still. Coding noise of x264 and SVT-AV1 reaches 8 at sharp
# edges; an arm that moves changes some cells by 30 and more.
STILL_LEVELS = 10
