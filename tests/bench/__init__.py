"""The benchmark suite: `make bench`. Not part of the tests, because figures depend on the machine."""
