"""The Hugging Face Hub: calls that are patient with what passes, and uploads."""
