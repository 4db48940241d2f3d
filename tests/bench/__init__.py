"""The benchmark suite: `make bench`. Not part of the tests, because figures depend on the machine.

The server under test has a core of its own; this process, which is the model server and all readers at once, has the
others. A scenario is a registered function; it gives rows (streams) and figures (everything else), from which the
table of goals is computed. Must not know how the site works: it measures from outside, but for filling its database.
"""
