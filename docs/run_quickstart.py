"""Run the quickstart of the README: prints its output, and the CPU seconds it took.

OMP_NUM_THREADS=1 python docs/run_quickstart.py
"""

import re
import time
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def main():
    """Run the first Python block."""
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)[
        1
    ]
    imports, rest = code.split("\n\n", 1)
    names = {}
    exec(imports, names)
    start = time.process_time()
    exec(rest, names)
    print(f"{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
