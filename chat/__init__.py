"""Conversations with an AI agent, in which everything that happens is an event."""
