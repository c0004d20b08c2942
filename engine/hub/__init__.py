"""The Hugging Face Hub: calls that are tried again, and uploads."""
