"""HTTP/1.1 over a plain socket: as little as a load generator needs, and nothing that it would then
measure instead of the server."""
import json
import re
import socket

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Answer:
    __slots__ = ("status", "head", "body")

    def __init__(self, status, head, body):
        self.status = status
        self.head = head
        self.body = body

    def header(self, name):
        """The value as text, or None."""
        match = re.search(rb"\r\n" + re.escape(name.encode()) + rb": *([^\r]*)", self.head, re.I)
        return match.group(1).decode("latin-1") if match else None

    def closes(self):
        return b"\r\nConnection: close" in self.head


def request(method, path, body=b"", headers=""):
    """The bytes of a request."""
    length = f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{length}{headers}\r\n".encode() + body


def parse(data):
    """An Answer, when `data` (bytes) holds a complete one and nothing else, else None.  A load
    generator asks one thing at a time, so anything behind the answer is a mistake of the server."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 2]
    if not head.startswith(b"HTTP/1.1 "):
        raise ValueError(f"not HTTP: {head[:60]!r}")
    status = int(head[9:12])
    if status < 200:
        return parse(data[end + 4 :])
    found = LENGTH.search(head)
    if not found and status != 204:
        raise ValueError(f"no Content-Length: {head!r}")
    length = int(found.group(1)) if found else 0
    missing = end + 4 + length - len(data)
    if missing < 0:
        raise ValueError(f"{-missing} bytes too many after an answer: {data[-200:]!r}")
    return Answer(status, head, data[end + 4 :]) if missing == 0 else None


def split_address(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def connect(address, timeout=60):
    connection = socket.create_connection(split_address(address), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Client:
    """One connection, one request at a time, blocking."""

    def __init__(self, address, timeout=60):
        self.address = address
        self.timeout = timeout
        self.socket = connect(address, timeout)

    def ask(self, data):
        """Sends the bytes of a request; its Answer."""
        self.socket.sendall(data)
        received = b""
        while True:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise ConnectionError(f"{self.address} closed the connection after {received!r}")
            received = received + piece if received else piece
            answer = parse(received)
            if answer:
                break
        if answer.closes():
            self.socket.close()
            self.socket = connect(self.address, self.timeout)
        return answer

    def call(self, method, path, body=b"", headers=""):
        return self.ask(request(method, path, body, headers))

    def upload(self, path, module):
        """PUTs a module; an error if it is refused."""
        answer = self.call("PUT", path, module)
        if answer.status not in (200, 201):
            raise RuntimeError(f"PUT {path}: {answer.status} {answer.body!r}")
        return json.loads(answer.body)

    def metrics(self):
        """/metrics as a dict from name (with its labels) to number."""
        text = self.call("GET", "/metrics").body.decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def percentile(values, percent):
    """Of a non-empty list: the smallest value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
