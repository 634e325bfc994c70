"""mitmproxy between a client and a store, with faults on demand: see proxy/addon.py."""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s3writer._s3.body import send_at_once
from tests.stores import START_SECONDS, Store, folder, free_port, program, running

ADDON = Path(__file__).parent / "proxy" / "addon.py"
#: Shorter than the addon hangs, and longer than a busy store takes to commit.
READ_SECONDS = 2.0


@dataclass(frozen=True)
class Proxy:
    """A running mitmdump before a store; it speaks http and TLS on the same port."""

    store: Store
    port: int
    certificate: Path

    def client(self, *, tls: bool, attempts: int, **changes: Any) -> Any:
        """A client whose calls go through the proxy; over TLS it sends parts as the default client does."""
        scheme = "https" if tls else "http"
        through = replace(self.store, endpoint=f"{scheme}://127.0.0.1:{self.port}")
        retries = {"mode": "standard", "total_max_attempts": attempts}
        client = through.client(retries=retries, read_timeout=READ_SECONDS, verify=str(self.certificate), **changes)
        if tls:
            client.meta.events.register("request-created.s3", send_at_once)
        return client

    def set(self, key: str, call: str, fault: str, *, times: int, part: int | None = None) -> None:
        """Let ``call`` on ``key`` suffer ``fault`` so many ``times`` from now on."""
        self._ask("PUT", {"key": key, "call": call, "fault": fault, "times": times, "part": part})

    def clear(self, key: str) -> None:
        """Take all faults of ``key`` back."""
        self._ask("DELETE", {"key": key})

    def _ask(self, method: str, body: dict[str, Any]) -> None:
        url = f"http://127.0.0.1:{self.port}/-/fault"
        request = urllib.request.Request(url, method=method, data=json.dumps(body).encode())
        for is_last in (False, False, True):  # mitmproxy now and then resets a connection of its own accord
            try:
                urllib.request.urlopen(request, timeout=10).close()
            except ConnectionError:
                if is_last:
                    raise
            else:
                return


@contextmanager
def proxy(store: Store) -> Iterator[Proxy]:
    """A proxy before ``store``."""
    port = free_port()
    with folder() as place:
        settings = ["listen_host=127.0.0.1", f"listen_port={port}", "keep_host_header=true", f"confdir={place}"]
        command = [program("mitmdump"), "--quiet", f"--mode=reverse:{store.endpoint}", f"--scripts={ADDON}"]
        command += [f"--set={setting}" for setting in settings]
        with running(command, place):
            yield _ready(Proxy(store, port, place / "mitmproxy-ca-cert.pem"))


def _ready(started: Proxy) -> Proxy:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            started.clear("")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return started
