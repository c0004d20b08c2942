"""Convert one episode, from its source to its files; free of Ray."""
