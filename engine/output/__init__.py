"""The output folder of a dataset: start, resume, finish, upload."""
