"""What is in a wheel and a source distribution: `.ci/light` builds and checks both."""

import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

# Bytes. The source has the pictures of the docs.
LARGEST = {".whl": 1_000_000, ".gz": 10_000_000}


def check_published(metadata: str) -> None:
    """Whoever reads it elsewhere can follow every link."""
    url = os.environ["FLOWGUIDE_REPO_URL"]
    assert f"Project-URL: Repository, {url}" in metadata
    links = re.findall(r"\]\(([^)]+)\)", metadata)
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert len(links) > 20 and not relative, relative[:5]


def main(files: list[str]) -> None:
    root = Path(__file__).resolve().parents[1]
    kept = ("*.py", "py.typed", "Snakefile")
    package = {f"{f.relative_to(root)}" for k in kept for f in (root / "flowguide").rglob(k)}
    plans = {f.name for f in (root / "examples" / "ogbench").glob("*.toml")}
    for file in map(Path, files):
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                names = {info.filename for info in wheel.infolist() if not info.is_dir()}
                (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
                check_published(wheel.read(metadata).decode())
            foreign = {name for name in names if name.split("/")[0].split("-")[0] != "flowguide"}
            assert not foreign, f"{file.name} has {sorted(foreign)[:5]}"
            wanted = package | {f"flowguide/examples/ogbench/{plan}" for plan in plans}
        else:
            with tarfile.open(file) as source:
                names = {name.partition("/")[2] for name in source.getnames()}
            wanted = {*package, "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"}
        missing = wanted - names
        assert not missing, f"{file.name} lacks {sorted(missing)[:5]}"
        rubbish = {n for n in names if "__pycache__" in n or n.endswith((".npz", ".safetensors"))}
        assert not rubbish, f"{file.name} has {sorted(rubbish)[:5]}"
        size = file.stat().st_size
        assert size < LARGEST[file.suffix], f"{file.name} has {size:,} bytes"
        print(f"{file.name}: {len(names)} files, {size / 1e6:.1f} MB")
    assert len(files) == 2, files


if __name__ == "__main__":
    main(sys.argv[1:])
