"""A fuzzer guided by coverage (atheris) for every parser that strangers' bytes come to."""
