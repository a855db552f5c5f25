"""The files in `deploy/` work: nginx in front of the server, the unit file, the dashboard's queries."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from mien.serve.http import KEEP_ALIVE_S
from tests.serve.conftest import Running

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_nginx_passes_pictures_through(start_server: Callable[..., Running], portrait: bytes, tmp_path: Path):
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    server = start_server(hosts=("faces.example.org",))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = (DEPLOY / "nginx.conf").read_text().replace("127.0.0.1:8000", "{}:{}".format(*server.address))
    conf = conf.replace("listen 8080", f"listen 127.0.0.1:{port}")
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{conf} }}"
    )
    with subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]) as process:
        try:
            url, headers = f"http://127.0.0.1:{port}", {"host": "faces.example.org"}
            _wait_for(port)
            answer = httpx.post(f"{url}/v1/read", content=portrait, headers=headers)
            assert answer.json()["pictures"][0]["faces"][0]["label"] == "happy"
            assert "default-src 'self'" in httpx.get(url, headers=headers).headers["content-security-policy"]
            assert httpx.get(f"{url}/metrics", headers=headers).status_code == 403
            same = {**headers, "origin": "https://faces.example.org"}  # where nginx ends TLS
            assert httpx.post(f"{url}/v1/read", content=portrait, headers=same).status_code == 200
        finally:
            process.terminate()
            process.wait(10)


def test_the_server_keeps_connections_longer_than_nginx_does():
    """Otherwise nginx may send a request over a connection that the server is just closing."""
    assert "keepalive_timeout" not in (DEPLOY / "nginx.conf").read_text()  # so nginx keeps them for its 60 s
    assert KEEP_ALIVE_S > 60


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:  # noqa: PERF203
            time.sleep(0.02)


def test_the_unit_file_is_one():
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([analyze, "verify", str(DEPLOY / "mien.service")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_dashboard_asks_for_metrics_that_there_are(server: Running):
    there = {_base(name) for name in re.findall(r"^# TYPE (\S+)", server.client.get("/metrics").text, re.M)}
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    asked = {name for panel in panels for t in panel["targets"] for name in re.findall(r"mien_\w+", t["expr"])}
    assert {_base(name) for name in asked} <= there


def _base(name: str) -> str:
    return re.sub(r"_(total|bucket|sum|count)$", "", name)
