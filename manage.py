#!/usr/bin/env python
"""Django's command line for this site."""

import asyncio
import os
import sys

import uvloop
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
    # Before Django loads its apps: Daphne makes its loop as soon as it is imported.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    execute_from_command_line(sys.argv)
