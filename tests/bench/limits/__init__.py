"""Programs that do nothing but pass tokens on. They say how much of a cost is the machine's, or the framework's."""
