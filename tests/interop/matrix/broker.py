"""A broker of ours for the clients of other projects: with every way in, its data on the disk, and killed when that is
the case."""

import pathlib
import queue
import re
import signal
import subprocess
import threading
import time

PATIENCE_SECS = 60


class Lines:
    """The lines that a program says, as they come."""

    def __init__(self, command, **options):
        self.program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1, **options)
        self.lines = queue.Queue()
        self.said = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.program.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_for(self, wanted, patience=PATIENCE_SECS):
        """Returns the first line from here on that `wanted` accepts."""
        deadline = time.monotonic() + patience
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing more within {patience} s after {self.said[-5:]}") from None
            if line is None:
                raise AssertionError(f"it ended after {self.said[-5:]}")
            self.said.append(line)
            if found := wanted(line):
                return found

    def end(self, how=signal.SIGTERM):
        self.program.send_signal(how)
        return self.program.wait(PATIENCE_SECS)


class Broker:
    """`binary` with its configuration and data in `directory`. `ways` names its listeners."""

    def __init__(self, binary, directory, certificates, more=""):
        self.binary = binary
        self.directory = pathlib.Path(directory)
        self.certificates = pathlib.Path(certificates).resolve()
        self.more = more
        self.ports = dict.fromkeys(("tcp", "tls", "ws", "wss"), 0)
        self.start()

    def start(self):
        tls = f'tls = {{ certificate = "{self.certificates}/server.pem", key = "{self.certificates}/server.key" }}\n'
        parts = [f'store.data_dir = "{self.directory}/data"\n', self.more]
        for way, port in self.ports.items():
            parts.append(f'[[listener]]\naddress = "127.0.0.1:{port}"\n')
            parts.append('protocol = "websocket"\nallowed_origins = ["*"]\n' if way in ("ws", "wss") else "")
            parts.append(tls if way in ("tls", "wss") else "")
        configuration = self.directory / "quelea.toml"
        configuration.write_text("".join(parts))
        command = [self.binary, "serve", "--config", configuration]
        self.lines = Lines(command, stderr=subprocess.STDOUT)
        for way in self.ports:
            self.ports[way] = self.lines.wait_for(listening_port)

    def kill(self):
        """Kills it, and starts it again on the same ports."""
        self.lines.end(signal.SIGKILL)
        self.start()

    def stop(self):
        return self.lines.end()


def listening_port(line):
    found = re.search(r"listening.*127\.0\.0\.1:(\d+)", line)
    return int(found[1]) if found else None
