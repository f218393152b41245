"""Results as lines of JSON, and the tables made of them."""

import json
from collections import defaultdict


def read(path, key):
    """Results, the latest of each value of the key."""
    if not path.exists():
        return []
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return list({tuple(row[k] for k in key): row for row in rows}.values())


def grouped(rows, *keys):
    """Lists of rows by their values of the keys."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[k] for k in keys)].append(row)
    return groups
