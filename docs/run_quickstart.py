"""Run the quickstart: prints its output, the CPU seconds of the fit, and the diagnostics.

OMP_NUM_THREADS=1 python docs/run_quickstart.py
"""

import re
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent
README, QUICKSTART = DOCS.parent / "README.md", DOCS / "quickstart.md"


def blocks(path):
    """The Python blocks of a page."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.S)


def main():
    """Run the block of the README, and from the page what asks whether the map is right."""
    imports, rest = blocks(README)[0].split("\n\n", 1)
    names = {}
    exec(imports, names)
    start = time.process_time()
    exec(rest, names)
    print(f"{time.process_time() - start:.0f} CPU seconds")
    exec(next(code for code in blocks(QUICKSTART) if "diagnostics" in code), names)


if __name__ == "__main__":
    main()
