"""An app of somebody else's, with a tool that says how far it is and waits at each step."""
