"""What tests share: small datasets and ways to break them, servers, processes, workers that fail."""
