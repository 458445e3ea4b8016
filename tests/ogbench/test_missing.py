"""OGBench's files that are not there, and downloads of them, served on the loopback."""

import http.server
import threading
import types
import urllib.error
import zipfile
from functools import partial

import numpy as np
import ogbench.utils
import pytest

from flowguide.ogbench import load_ogbench

from .conftest import MAZE, MAZE_TASK


def test_missing_files(folder, tmp_path):
    command = f"`flowguide collect {MAZE} --episodes 200 --out {tmp_path}`"
    with pytest.raises(FileNotFoundError) as error:
        load_ogbench(MAZE_TASK, tmp_path, download=False)
    assert str(error.value) == (
        f"{MAZE}.npz and {MAZE}-val.npz are not in {tmp_path}. Make the dataset here with "
        f"{command}."
    )
    # What an interrupted download leaves is no dataset; nor is half of one.
    (tmp_path / f"{MAZE}.npz").write_bytes((folder / f"{MAZE}.npz").read_bytes())
    (tmp_path / f"{MAZE}-val.npz.tmp").write_bytes((folder / f"{MAZE}-val.npz").read_bytes())
    with pytest.raises(FileNotFoundError) as error:
        load_ogbench(MAZE_TASK, tmp_path, download=False)
    assert str(error.value) == (
        f"{MAZE}-val.npz is not in {tmp_path}. Make the dataset here with {command}, which "
        "replaces the other file, too."
    )


def test_missing_files_that_cannot_be_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="antmaze-giant-stitch-v0.npz and") as error:
        load_ogbench("antmaze-giant-stitch-v0", tmp_path, download=False)
    assert error.match("cannot be made with `flowguide collect`. Get it from https://.*-val.npz")


# Downloads.


@pytest.fixture
def served(folder, tmp_path, monkeypatch):
    """Serves the files of `folder`; `cut` names those of which the second half never comes, and
    `gone` those that it lacks."""
    state = types.SimpleNamespace(cut=set(), gone=set())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def copyfile(self, source, outputfile):
            data = source.read()
            is_cut = self.path.strip("/") in state.cut
            outputfile.write(data[: len(data) // 2] if is_cut else data)

        def do_GET(self):
            if self.path.strip("/") in state.gone:
                self.send_error(404)
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(ogbench.utils, "DATASET_URL", f"http://127.0.0.1:{server.server_port}")
        yield state
        server.shutdown()


def test_download(served, folder, tmp_path, capsys):
    out = tmp_path / "new folder"
    downloaded = load_ogbench(MAZE, out)
    assert f"{MAZE}-val.npz: 100%" in capsys.readouterr().err
    assert sorted(file.name for file in out.iterdir()) == [f"{MAZE}-val.npz", f"{MAZE}.npz"]
    for one, other in zip(downloaded, load_ogbench(MAZE, folder, download=False), strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)


def test_download_of_what_is_missing_alone(served, maze):
    own = (maze / f"{MAZE}.npz").stat().st_mtime_ns
    (maze / f"{MAZE}-val.npz").unlink()
    load_ogbench(MAZE, maze)
    assert (maze / f"{MAZE}.npz").stat().st_mtime_ns == own


def test_download_that_is_cut_off(served, tmp_path):
    served.cut.add(f"{MAZE}-val.npz")
    # OGBench does not notice. On Python versions that do, the file is missing.
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_ogbench(MAZE, tmp_path)
    if isinstance(error.value, ValueError):
        assert error.match(f"{tmp_path / MAZE}-val.npz is damaged.*Delete it and download it again")
        assert isinstance(error.value.__cause__, zipfile.BadZipFile)
    else:
        assert error.match(f"^{MAZE}-val.npz is not in {tmp_path}, and the download failed")


def test_download_of_what_the_server_lacks(served, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"download failed \(HTTPError: .*404") as error:
        load_ogbench("puzzle-3x3-play-v0", tmp_path)
    assert isinstance(error.value.__cause__, urllib.error.HTTPError)
    assert error.match(f"flowguide collect puzzle-3x3-play-v0 --episodes 200 --out {tmp_path}")


def test_download_that_fails_between_the_two_files(served, folder, tmp_path):
    served.gone.add(f"{MAZE}-val.npz")
    with pytest.raises(FileNotFoundError, match=f"^{MAZE}-val.npz is not in .*404") as error:
        load_ogbench(MAZE, tmp_path)
    # The first one is whole on the disk, even while the error is held.
    assert (tmp_path / f"{MAZE}.npz").read_bytes() == (folder / f"{MAZE}.npz").read_bytes()
    del error


def test_no_network(tmp_path, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    monkeypatch.setattr(ogbench.utils, "DATASET_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(FileNotFoundError) as error:
        load_ogbench(MAZE, tmp_path)
    assert isinstance(error.value.__cause__, urllib.error.URLError)
    assert error.match(
        rf"^{MAZE}.npz and {MAZE}-val.npz are not in {tmp_path}, and the download failed "
        rf"\(URLError: .*refused.*\)\. Make the dataset here with `flowguide collect {MAZE}"
    )
