"""Perform one effect each and return its terminal event. Know the outside that they call; know nothing of
who ordered the effect, who listens, or who owns their task."""
