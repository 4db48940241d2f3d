"""Talks with model servers. Knows HTTP, the OpenAI dialect and its faults; knows nothing of Django,
conversations, events or pages. `port` is what the rest of the project sees."""
