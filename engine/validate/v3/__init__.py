"""Judge LeRobot v3.0 datasets, whoever made them; see `judge_v3`."""
