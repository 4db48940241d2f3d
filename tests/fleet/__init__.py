"""A site of several processes: its services, its links, its processes, and people who stay with it through faults.

Knows how each part is started, killed, held and cut off. Must not know how the site does its work.
"""
