"""What is GR00T N1.7's own in training and inference."""
