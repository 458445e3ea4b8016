"""The tutorial runs from the first cell to the last, and says what the page says."""

import json
import re

import nbclient
import nbformat

from .blocks import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def texts(notebook):
    """What its cells printed and showed, pictures aside."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield output.get("text") or output.get("data", {}).get("text/html", "")


def rates(notebook):
    found = re.findall(r"(\d+) of 60", " ".join("".join(text) for text in texts(notebook)))
    return [int(count) for count in found]


def test_the_tutorial_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    unguided, chosen, guided, both = rates(notebook)
    # Processors train other networks; what the text says of them holds.
    assert unguided < 30 and min(chosen, guided) > unguided and both > max(chosen, guided)
    assert (tmp_path / "reach" / "model.safetensors").exists()


def test_the_page_shows_what_the_notebook_holds(site):
    page = (site / "tutorial.html").read_text()
    notebook = json.loads(NOTEBOOK.read_text())
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
    )
    assert page.count("data:image/png;base64") == pictures == 3
    assert "<table>" in page and f"{rates(notebook)[-1]} of 60" in page
    assert "{notebook" not in page and "$k$" not in page
