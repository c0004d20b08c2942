"""Where episodes are converted: this process, Ray Data, actors on GPUs."""
