"""Other people's servers on loopback: a tracker and a web server from Debian, and a stand-in."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

import pytest

PATIENCE = 20.0
"""Seconds until a server listens."""

STATUSES = "statuses"
"""The file in which nginx writes a status code for each request."""

_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
    log_format status $status; access_log {folder}/{statuses} status;
    root "{root}"; max_ranges {ranges};
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; }}
}}
"""


@contextmanager
def opentracker(folder: Path, info_hash: bytes) -> Iterator[int]:
    """Run the tracker that most public ones are; the test says `needs("opentracker")`.

    Args:
        folder: For its list; made here.
        info_hash: What it serves; Debian's serves nothing that is not on its list.

    Yields:
        Its port.
    """
    folder.mkdir()
    listed = folder / "list"
    listed.write_text(f"{info_hash.hex()}\n")
    port = free_port()
    # Where root starts it, it locks itself into the folder and becomes nobody.
    options = ["-d", str(folder), "-w", "/list"] if os.geteuid() == 0 else ["-w", str(listed)]
    with running([find_program("opentracker"), "-i", "127.0.0.1", "-p", str(port), *options], port):
        yield port


@contextmanager
def nginx(root: Path, folder: Path, *, has_ranges: bool = True) -> Iterator[int]:
    """Serve the files below a folder; the test says `needs("nginx")`.

    Args:
        root: The folder.
        folder: For what it needs itself; made here. :data:`STATUSES` in it has what was answered.
        has_ranges: Send parts of files to those who ask for parts.

    Yields:
        Its port.
    """
    folder.mkdir()
    port = free_port()
    configuration = folder / "nginx.conf"
    ranges = 1 if has_ranges else 0
    configuration.write_text(
        _NGINX.format(folder=folder, root=root, port=port, ranges=ranges, statuses=STATUSES)
    )
    with running([find_program("nginx"), "-c", str(configuration)], port):
        yield port


@contextmanager
def fixed_answer(
    body: bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    after: float = 0,
) -> Iterator[int]:
    """Say the same to everybody, after so many seconds.

    Yields:
        The port.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(after)
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def needs(program: str) -> pytest.MarkDecorator:
    """Skip a test where a program is not installed; on Debian `./run` installs it."""
    return pytest.mark.skipif(find(program) is None, reason=f"{program} is not installed")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_program(name: str) -> str:
    """Where a program is."""
    path = find(name)
    assert path is not None, f"{name} is not installed"
    return path


def find(name: str) -> str | None:
    """Where a program is, if it is installed."""
    return which(name) or which(name, path="/usr/sbin:/sbin")


@contextmanager
def running(command: list[str], port: int | None) -> Iterator[None]:
    """Run a program until the block is left.

    Args:
        command: It.
        port: Of 127.0.0.1; it is waited for.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while port is not None:
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{command[0]} does not listen"
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
