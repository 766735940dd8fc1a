"""The guard that lets the course open no connection beyond this machine can fail.

The chapters themselves are executed under it by `notebooks.tools.validate`.
"""

import subprocess
import sys

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks.tools import kernel, validate

# A host and an address that no network knows (RFC 2606, RFC 5737).
RESOLVE = "import socket; socket.getaddrinfo('example.invalid', 443)"
CONNECT = "import socket; socket.socket().connect(('192.0.2.1', 443))"
DATAGRAM = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))"
FETCH = "import urllib.request; urllib.request.urlopen('http://example.invalid')"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CONNECT!r}], check=True)"
SWALLOWED = f"try:\n    exec({CONNECT!r})\nexcept OSError:\n    pass"
LOOPBACK = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(("localhost", server.getsockname()[1]))
left, right = socket.socketpair()
left.sendall(b"x")
"""


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def run(code, tier="laptop"):
    """Run Python code as a kernel of a tier would, and return what it wrote to stderr."""
    with kernel.environment(tier) as variables:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=variables, capture_output=True, text=True).stderr


@pytest.mark.parametrize("attempt", [RESOLVE, CONNECT, DATAGRAM, FETCH, CHILD])
def test_an_attempt_is_found(attempt):
    with pytest.raises(kernel.OnlineError, match=r"example\.invalid|192\.0\.2\.1"):
        run(attempt)


@pytest.mark.slow
def test_an_attempt_that_a_library_swallows_is_found_in_a_notebook():
    swallowing = notebook(SWALLOWED, "print('went on')")
    with pytest.raises(kernel.OnlineError, match=r"192\.0\.2\.1"):
        kernel.execute(swallowing, "laptop")
    assert swallowing.cells[1].outputs[0].text == "went on\n"


@pytest.mark.slow
def test_an_attempt_stops_a_notebook_that_does_not_catch_it():
    with pytest.raises((CellExecutionError, kernel.OnlineError), match="offline"):
        kernel.execute(notebook(RESOLVE), "replay")


def test_a_folder_is_named_from_where_the_command_is_given(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDR1_DATA", "mine")
    with kernel.environment("replay") as variables:
        assert variables["MEDR1_DATA"] == str(tmp_path / "mine")


def test_this_machine_may_be_talked_to():
    assert run(LOOPBACK) == ""


def test_the_gpu_tier_may_download(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with kernel.environment("gpu") as variables:
        assert not {"MEDR1_CONNECTIONS", "HF_HUB_OFFLINE"} & variables.keys()


@pytest.mark.slow
def test_nbval_runs_under_the_guard(tmp_path, capsys):
    tracked = notebook(SWALLOWED)
    tracked.metadata["medr1"] = {"nbval": "lax"}
    tracked.cells[0].execution_count = 1
    nbformat.write(tracked, tmp_path / "01_calls.ipynb")
    assert validate.main([], tmp_path) == 1
    assert "192.0.2.1" in capsys.readouterr().out
