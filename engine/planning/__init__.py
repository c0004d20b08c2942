"""From a recipe and its sources to the plan of every output episode."""
