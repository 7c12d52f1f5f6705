"""clock: what time it is.  Every program asks here, so that a test owns the time.

now() is the calendar (may jump, is written to disk); tick() never jumps and is for waits and deadlines.
"""
import time

now = time.time            # seconds since 1970, float
tick = time.monotonic      # seconds since some start, float
