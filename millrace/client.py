"""A client of `millrace serve --robot`: a robot's images and joints out, its joint targets back. No GR00T is needed.

from millrace.client import PolicyClient
with PolicyClient("127.0.0.1", 5555) as policy:
    policy.reset()
    actions = policy.act(images={"top": image}, state={"left_arm": joints, ...}, instruction="pick up the cube")
"""

from millrace.train.robot_client import PolicyClient, ServerError

__all__ = ["PolicyClient", "ServerError"]
