"""What is GR00T N1.6's own in training and inference."""
