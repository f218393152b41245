"""Write PNG pictures with a palette, a third of the size: `shrink_pictures.py FILES`.

For diagrams, whose colours are few; photographs are better saved as JPEG. A picture that
would not become smaller stays as it is.
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image


def with_palette(path):
    """Bytes of the picture with at most 256 colours."""
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    out = BytesIO()
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def main(*paths):
    """Shrink the files."""
    for path in map(Path, paths):
        small, before = with_palette(path), path.stat().st_size
        if len(small) < before:
            path.write_bytes(small)
        print(f"{path.name}: {before:,} to {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
