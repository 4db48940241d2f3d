"""The only writer of models, and their reader. Blocking: call it from a thread, one function a transaction.

Knows rows, locks and transactions. Must not know who listens, what is performed, or how anything is drawn.
"""
