"""Built pages hang together and ask no network: `python docs/check_pages.py FOLDER`.

Every picture, script, style sheet and internal link must lead to a file that is there,
every anchor to an element of its page, no picture, script or style sheet may come from
elsewhere, and the search must find what readers look for. Prints what is wrong and exits
with 1.
"""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src")}
FOLLOWED = {("a", "href")}
SEARCHED = {  # what a reader searches for, and a page that must be found
    "install": "install",
    "conda": "install",
    "license": "install",
    "licence": "install",
    "cite": "contributing",
    "citation": "contributing",
    "color transfer": "auto_examples/plot_color_transfer",
    "colour transfer": "auto_examples/plot_color_transfer",
    "ensemble": "guide/large_data",
    "pseudo-label": "guide/classes",
    "batch effect": "guide/adaptation",
    "domain adaptation": "guide/adaptation",
    "save": "guide/saving",
    "pickle": "guide/saving",
    "checkpoint": "guide/long_fits",
    "GPU": "guide/large_data",
    "progress": "guide/fit_time",
    "grid search": "guide/checking",
    "FAQ": "quickstart",
    "Wasserstein distance": "quickstart",
    "notebook": "examples",
}


class Page(HTMLParser):
    """What a page loads, what it links to, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.path, self.loaded, self.links, self.anchors = path, [], [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Take note of one element."""
        for name, value in attrs:
            if name in ("id", "name"):
                self.anchors.add(value)
            elif (tag, name) in LOADED and value:
                self.loaded.append(value)
            elif (tag, name) in FOLLOWED and value:
                self.links.append(value)


def complaints(pages):
    """What is wrong, line by line."""
    for path, page in pages.items():
        for target in page.loaded + page.links:
            url = urlsplit(target)
            if url.scheme == "data" or (url.scheme and target in page.links):
                continue
            if url.scheme or url.netloc:
                yield f"{path}: loads {target} from elsewhere"
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not file.exists():
                yield f"{path}: {target} is not there"
            elif file in pages and unquote(url.fragment) not in pages[file].anchors:
                yield f"{path}: {target} has no such anchor"


def not_found(folder):
    """Phrases with a word that Sphinx's search does not find on the page wanted."""
    path = Path(folder, "searchindex.js")
    if not path.exists():
        return
    import snowballstemmer

    stem = snowballstemmer.stemmer("english").stemWord
    text = path.read_text(encoding="utf-8")
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\);?", text, re.S)[1])
    for phrase, page in SEARCHED.items():
        if page not in index["docnames"]:
            yield f"{page}, which the search for {phrase!r} wants, is not there"
            continue
        number = index["docnames"].index(page)
        for word in re.findall(r"\w+", phrase.lower()):
            terms = (_pages(index[key], stem(word)) for key in ("terms", "titleterms"))
            if not any(number in pages for pages in terms):
                yield f"the search for {phrase!r} does not find {page}"


def _pages(terms, word):
    pages = terms.get(word, [])
    return {pages} if isinstance(pages, int) else set(pages)


def main(folder):
    """Check all pages below the folder."""
    paths = sorted(Path(folder).resolve().rglob("*.html"))
    found = list(complaints({path: Page(path) for path in paths}))
    found += not_found(folder)
    print("\n".join(found) or f"{len(paths)} pages, nothing missing")
    return bool(found) or not paths


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
