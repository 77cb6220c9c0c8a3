"""What every test needs."""

import os

from hypothesis import settings

# A shared machine may stall any one example; time is no property of these functions.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

# The width of a terminal that several test processes are told of is none that a command should write for.
os.environ.pop("COLUMNS", None)
