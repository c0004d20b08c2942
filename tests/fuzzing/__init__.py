"""A structured fuzzer: small datasets of each layout, damaged in thousands of ways, given to the command line."""
