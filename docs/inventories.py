"""Inventories for links to other packages, made from inventories.toml without network."""

import zlib
from pathlib import Path

HEAD = "# Sphinx inventory version 2\n# Project: {}\n# Version: \n# {}\n"
COMPRESSED = "The remainder of this file is compressed using zlib."


def write(projects, folder):
    """Write an inventory for every project; returns Sphinx's intersphinx_mapping."""
    mapping = {}
    for name, project in projects.items():
        path = Path(folder, f"{name}.inv")
        lines = [
            f"{key} py:{role} 1 {place} -\n"
            for role, entries in project["names"].items()
            for key, place in _places(entries)
        ]
        head = HEAD.format(name, COMPRESSED).encode()
        path.write_bytes(head + zlib.compress("".join(lines).encode()))
        mapping[name] = project["url"], str(path)
    return mapping


def _places(entries):
    """Every name and its address; `{}` in a page stands for the name."""
    for page, names in entries.items():
        for name in names:
            yield name, page.replace("{}", name) + "#$"
