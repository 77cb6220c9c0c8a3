"""What every test needs."""

from hypothesis import settings

# A shared machine may stall any one example; time is no property of these functions.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
