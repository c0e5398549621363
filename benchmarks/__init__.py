"""Side-by-side measurements, run by hand: ``python -m benchmarks.NAME``. Quote ratios, not times."""

import time

STARTED = time.time()
"""When this program began, before its imports: they are a part of what a user waits for."""
