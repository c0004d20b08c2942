"""Rollouts in a simulator: environments, policies and success rates."""
