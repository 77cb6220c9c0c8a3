"""The modules beside the tests can be imported by name, here as by ``python tests/fuzz/run.py``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
