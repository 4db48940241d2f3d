"""An app of somebody else's, with tools that wait at gates, and that leave what they did."""
