"""The README as PyPI shows it.

With the address of the repository in FLOWGUIDE_REPO_URL its links and pictures are absolute, and it
has badges; without it, it is the file.
"""

# pyright: reportMissingImports=false

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"(!\[[^\]]*\]\()(?!https?:)([^)#]+\))")
LINK = re.compile(r"(\]\()(?!https?:|#)([^)]+\))")
BADGES = """\
[![tests]({url}/actions/workflows/ci.yml/badge.svg)]({url}/actions)
![Python 3.11 to 3.13](https://img.shields.io/badge/python-3.11_to_3.13-blue)
![licence: Apache 2.0](https://img.shields.io/badge/licence-Apache_2.0-blue)
"""


class PublishedReadme(MetadataHookInterface):
    def update(self, metadata: dict) -> None:
        text = (Path(self.root) / "README.md").read_text()
        url = os.environ.get("FLOWGUIDE_REPO_URL", "").rstrip("/")
        if url:
            text = published(text, url)
            metadata["urls"] = {"Repository": url, "Changes": f"{url}/blob/HEAD/CHANGELOG.md"}
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def published(text: str, url: str) -> str:
    """The README, for a reader who is not in the repository at `url`."""
    text = PICTURE.sub(rf"\g<1>{url}/raw/HEAD/\g<2>", text)
    text = LINK.sub(rf"\g<1>{url}/blob/HEAD/\g<2>", text)
    title, rest = text.split("\n", 1)
    return f"{title}\n\n{BADGES.format(url=url)}{rest}"
