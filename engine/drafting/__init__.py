"""What the parts of a drafted robot file are taken from: columns, joint names, groups, units and cameras."""
