"""``python -m docs.site.notebook``: the Python tabs of the tutorial as ``docs/tutorial.ipynb``.

The text of the notebook is that of the tutorial without its other tabs; some cells, which only a
notebook can have, show pictures. Outputs are not committed: they would hold pictures.
"""

import json
import re
from pathlib import Path
from typing import Any, TypeAlias

Cell: TypeAlias = dict[str, Any]
DOCS = Path(__file__).parents[1]
TUTORIAL, NOTEBOOK = DOCS / "tutorial.md", DOCS / "tutorial.ipynb"
TABS = re.compile(r"^::::\{tab-set\}$.*?^::::$\n?", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Cells that show pictures, after the code of the section whose heading begins so.
SHOWN = {
    "## 3.": '''# Some of the frames, and what the folders say of them
import base64
import html


class Pictures:
    """Files side by side with their captions."""

    def __init__(self, files, captions):
        self.files, self.captions = files, captions

    def _repr_html_(self):
        figures = []
        for file, caption in zip(self.files, self.captions, strict=True):
            data = base64.b64encode(Path(file).read_bytes()).decode()
            figures.append(
                "<figure style='display: inline-block; margin: 4px'>"
                f"<img width='150' src='data:image/png;base64,{data}'>"
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
        return "".join(figures)


Pictures(files[::12], [file.parent.parent.name for file in files[::12]])
''',
    "## 5.": """# What was answered, under each picture
said = [item.label or f"abstains: {item.abstained.because}" for item in answers.items]
Pictures([*new, "frames/other/lung.png"], said)
""",
    "## 6.": """# The query, and what is similar to it
stored = {file.stem: file for file in files}
ids = [query.scan_id, *(hit.scan.scan_id for hit in found.items)]
scores = [f"{hit.score:.2f}" for hit in found.items]
Pictures([stored[scan_id] for scan_id in ids], ["query", *scores])
""",
}


def notebook(tutorial: str) -> dict[str, Any]:
    """The notebook (nbformat 4.5) of the tutorial's text."""
    cells: list[Cell] = []
    for section in re.split(r"^(?=## )", tutorial, flags=re.MULTILINE):
        code = "\n\n".join(found.strip() for found in PYTHON.findall(section))
        text = TABS.sub("@@", section).replace("@@\n\n", "@@")
        before, _, after = text.partition("@@")
        cells.append(_cell("markdown", _plain(before)))
        if code:
            cells.append(_cell("code", code))
        for heading, pictures in SHOWN.items():
            if section.startswith(heading):
                cells.append(_cell("code", pictures.strip()))
        if after.strip():
            cells.append(_cell("markdown", _plain(after)))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _plain(text: str) -> str:
    """Text of the tutorial as a notebook shows it: marks of tests gone, the rest kept."""
    return re.sub(r"^```sh (?:setup|skip)$", "```sh", text, flags=re.MULTILINE).strip()


def _cell(kind: str, source: str) -> Cell:
    cell: Cell = {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell


def text_of(tutorial: str) -> str:
    """The file of the notebook."""
    return json.dumps(notebook(tutorial), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(text_of(TUTORIAL.read_text()))
