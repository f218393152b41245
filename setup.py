"""The long description: README.md with addresses that hold outside a checkout.

Everything else is in setup.cfg. Relative pictures and links of the README work in a
checkout; on a package index they need the address of the repository, `url` in setup.cfg.
"""

import configparser
import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent


def absolute(text, url, branch="main"):
    """The text with pictures and links that lead to files of the repository."""
    raw = url.replace("https://github.com", "https://raw.githubusercontent.com")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\1{raw}/{branch}/", text)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\1{url}/blob/{branch}/", text)


if __name__ == "__main__":
    config = configparser.ConfigParser()
    config.read(HERE / "setup.cfg", encoding="utf-8")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=absolute(readme, config["metadata"]["url"]),
        long_description_content_type="text/markdown",
    )
