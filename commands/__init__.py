"""The command line: a file for each command, a frozen dataclass whose fields are its flags."""
