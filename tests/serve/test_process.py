"""`mien serve` as a process: start, SIGHUP, SIGTERM, and what it says."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.serve.conftest import bundle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def test_from_start_to_an_orderly_end(tmp_path: Path, portrait: bytes):
    path = bundle(tmp_path, "1").path
    command = [sys.executable, "-m", "mien", "serve", "--model", str(path), "--port", "0", "--drain", "60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"mien serves tiny version 1 at (\S+)", process.stderr.readline())
            assert found
            url = found[1]
            assert httpx.get(f"{url}v2/health/ready").status_code == 200
            path.write_bytes(bundle(tmp_path, "2").model)
            process.send_signal(signal.SIGHUP)
            assert "version 2 serves now, in place of 1" in process.stderr.readline()
            assert httpx.post(f"{url}v1/read", content=portrait).json()["model"]["version"] == 2
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 5
            while httpx.get(f"{url}v2/health/ready").status_code != 503 and time.monotonic() < deadline:
                pass
            # `ready` says no, and requests are still answered: who balances the load has time to notice.
            assert httpx.get(f"{url}v2/health/live").status_code == 200
            assert httpx.post(f"{url}v1/read", content=portrait).status_code == 200
            process.send_signal(signal.SIGTERM)  # asked twice, it waits no longer
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--host", "0.0.0.0"], "give a token file"),
        (["--model", "nobody"], "no model called 'nobody'"),
        (["--admin", "nowhere"], "expected HOST:PORT or unix:PATH"),
        (["--admin", "0.0.0.0:1"], "need a token file"),
        (["--host", "192.0.2.1", "--open"], "cannot listen there"),
    ],
)
def test_wrong_use_is_told(mien: Callable[..., tuple[int, str, str]], arguments: list[str], why: str):
    code, _, err = mien("serve", "--port", "0", *arguments)
    assert (code, why in err) == (2, True), err
