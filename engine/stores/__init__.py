"""Object stores (S3, Google Cloud Storage and others): addresses, calls that are tried again, a bounded cache."""
