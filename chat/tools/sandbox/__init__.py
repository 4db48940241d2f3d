"""Runs foreign code: a Jupyter kernel and a shell for each conversation, confined, bounded in total, stoppable.

Knows Linux's walls, Jupyter's messages and work folders. Must not know Django, models, tools or approvals. Whatever
comes out of the confined processes is forged until it is checked. `pool.Sandbox` and `values` are what the rest of
the project sees.
"""
