"""Writes `llms.txt`, the list of the pages for language models: `python docs/make_llms_txt.py`."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent


def llms_txt() -> str:
    """The pages in the order of the table of contents, each with its title and introduction."""
    contents = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    lines = []
    for indent, entry in re.findall(r"^( +)- (?:\w+: )?(.+)$", contents, re.MULTILINE):
        if entry.endswith(":"):
            level = "##" if len(indent) == 2 else "###"
            lines += [f"\n{level} {entry[:-1]}\n"]
            continue
        title, _, text = (DOCS / entry).read_text(encoding="utf-8").partition("\n")
        if not lines:
            lines += [title, "", f"> {_introduction(text)}"]
            continue
        title = title.lstrip("# ").replace("\\#", "#")
        about = _introduction(text)
        lines.append(f"- [{title}]({entry})" + (f": {about}" if about else ""))
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _introduction(text: str) -> str:
    """The first paragraph of a page on one line; empty if the page begins otherwise."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    # Links lead from the page, not from here.
    paragraph = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", paragraph)
    return paragraph if re.match(r"[A-Z`]", paragraph) and not paragraph.startswith("```") else ""


if __name__ == "__main__":
    (DOCS / "llms.txt").write_text(llms_txt(), encoding="utf-8")
