"""Turns values into HTML: fragments, Markdown, element ids. Knows templates; knows nothing of sockets,
models or rules."""
