"""Run examples in full and store what they print and draw, for the gallery.

    python docs/record_examples.py [NAMES]

Every example runs in a process of its own, cell by cell, as its notebook does. What a cell
prints goes to `docs/recorded/NAME.txt`, and its figures to `docs/recorded/NAME_1.png` and
so on. The pages show them below the cell; no example runs while the pages are built.
"""

import ast
import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent
EXAMPLES, RECORDED = DOCS.parent / "examples", DOCS / "recorded"
PHOTOGRAPHS = {"plot_color_transfer"}  # their figures are JPEG files
FIRST = "plot_two_moons"  # of the gallery
HEAD = "# {seconds:.0f} CPU seconds of one thread, code {code}"
HIDDEN = re.compile(
    r"^# sphinx_gallery_start_ignore\n.*?^# sphinx_gallery_end_ignore\n", re.M | re.S
)
CELL, FIGURE = "# ---- cell {}", "# ---- figure "


def gallery_order(path):
    """Sort key of the gallery: the first example, then by the names of the files."""
    return Path(path).stem != FIRST, str(path)


def code_digest(path):
    """Digest of the code that a page shows, without comments and the docstring."""
    text = HIDDEN.sub("", Path(path).read_text(encoding="utf-8"))
    tree = ast.parse(text)
    tree.body = tree.body[1:]  # without the docstring
    return hashlib.sha256(repr(outline(tree)).encode()).hexdigest()[:12]


def outline(node):
    """A syntax tree as nested lists, the same under all versions of Python.

    Later versions have more fields, which are empty in the code of earlier ones.
    """
    if isinstance(node, list):
        return [outline(part) for part in node]
    if not isinstance(node, ast.AST):
        return node
    fields = [
        [name, outline(value)]
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    ]
    return [type(node).__name__, fields]


def read(name):
    """First line of a record; text and names of figures of every cell that has any."""
    path = RECORDED / f"{name}.txt"
    if not path.exists():
        return "", {}
    head, *cells = path.read_text(encoding="utf-8").split(CELL.format(""))
    found = {}
    for cell in cells:
        number, _, output = cell.partition("\n")
        text, *figures = output.split(FIGURE)
        found[int(number)] = text.rstrip(), [figure.strip() for figure in figures]
    return head.strip("# \n"), found


def record(name):
    """Run one example in this process, and store the output of its cells."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    path = EXAMPLES / f"{name}.py"
    plt.show = lambda: None
    sys.argv = [str(path)]
    for old in [RECORDED / f"{name}.txt", *RECORDED.glob(f"{name}_[0-9].*")]:
        old.unlink(missing_ok=True)
    start, names, texts = time.process_time(), {"__name__": "__main__"}, []
    n_figures = 0
    for k, block in enumerate(split_code_and_text_blocks(str(path))[1]):
        if block[0] != "code":
            continue
        printed = io.StringIO()
        code = "\n" * (block[2] - 1) + block[1]
        with contextlib.redirect_stdout(printed):
            exec(compile(code, path, "exec"), names)
        figures = [plt.figure(number) for number in plt.get_fignums()]
        if printed.getvalue() or figures:
            lines = printed.getvalue().rstrip().splitlines()
            texts += [CELL.format(k), *(line.rstrip() for line in lines)]
        for figure in figures:
            n_figures += 1
            texts.append(FIGURE + _save(figure, name, n_figures))
        plt.close("all")
    times = os.times()
    seconds = time.process_time() - start + times.children_user + times.children_system
    head = HEAD.format(seconds=seconds, code=code_digest(path))
    (RECORDED / f"{name}.txt").write_text("\n".join([head, *texts]) + "\n")


def _save(figure, name, number):
    """Write a figure: photographs as JPEG, diagrams as PNG; returns the file's name."""
    if name in PHOTOGRAPHS:
        path = RECORDED / f"{name}_{number}.jpg"
        options = {"pil_kwargs": {"optimize": True, "quality": 88}}
        figure.savefig(path, dpi=130, **options)
    else:
        path = RECORDED / f"{name}_{number}.png"
        save_diagram(figure, path)
    return path.name


def save_diagram(figure, path):
    """A PNG file with at most 256 colours, a third of the size."""
    from PIL import Image

    written = io.BytesIO()
    figure.savefig(written, dpi=130)
    with Image.open(written) as picture:
        few = picture.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(path, "PNG", optimize=True)


def main(*names):
    """Record the examples of these names, or all."""
    RECORDED.mkdir(exist_ok=True)
    for name in names or sorted(path.stem for path in EXAMPLES.glob("*.py")):
        start = time.time()
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment.pop("SK_NCF_QUICK", None)
        command = [sys.executable, __file__, "--one", name]
        subprocess.run(command, env=environment, check=True)
        print(f"{name}: {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        record(sys.argv[2])
    else:
        main(*sys.argv[1:])
