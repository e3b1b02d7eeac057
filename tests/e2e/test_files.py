"""Users' files over HTTP, with the real program and curl: put, got, replaced, listed, deleted; and what calls see."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

import calls
from process import SLEEP, Server

SANITIZED = bool(os.environ.get("FAASM_SANITIZE"))
MIB = 1 << 20
PATCH = {"Content-Type": "application/merge-patch+json"}

# Opens the path that is put in, below the first open folder, and gives out what it reads of it; the exit code is the
# error of the open.  Reads 64 KiB at a time.
CAT = """(module
  (import "faasm" "input_size" (func $size (result i32)))
  (import "faasm" "input_read" (func $input (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $write (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  %s
  (memory (export "memory") 4)
  (func (export "_start") (local $error i32)
    %s
    (drop (call $input (i32.const 0) (i32.const 1024) (i32.const 4096)))
    (local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 1024) (call $size) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (if (local.get $error) (then (call $exit (local.get $error))))
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (if (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $exit (i32.const 99))))
      (drop (call $write (i32.const 65536) (i32.load (i32.const 8))))
      (br_if $more (i32.load (i32.const 8))))))"""
POLL = '(import "wasi_snapshot_preview1" "poll_oneoff" (func $p (param i32 i32 i32 i32) (result i32)))'
REST = """(i32.store (i32.const 216) (i32.const 1))
    (i64.store (i32.const 224) (i64.const %d))
    (drop (call $p (i32.const 200) (i32.const 264) (i32.const 1) (i32.const 328)))"""
SLOW_CAT = CAT % (POLL, REST % 1_500_000_000)
CAT = CAT % ("", "")
ENOENT = 44

# The same as a child of a call.
PARENT = """(module
  (import "faasm" "input_size" (func $size (result i32)))
  (import "faasm" "input_read" (func $input (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $write (param i32 i32) (result i32)))
  (import "faasm" "call_start" (func $start (param i32 i32 i32 i32) (result i64)))
  (import "faasm" "call_wait" (func $wait (param i64 i64) (result i32)))
  (import "faasm" "call_output_read" (func $output (param i64 i32 i32 i32) (result i32)))
  (memory (export "memory") 4) (data (i32.const 0) "cat")
  (func (export "_start") (local $child i64)
    (drop (call $input (i32.const 0) (i32.const 1024) (i32.const 4096)))
    (local.set $child (call $start (i32.const 0) (i32.const 3) (i32.const 1024) (call $size)))
    (drop (call $wait (local.get $child) (i64.const -1)))
    (drop (call $write (i32.const 65536)
      (call $output (local.get $child) (i32.const 0) (i32.const 65536) (i32.const 65536))))))"""


@pytest.fixture
def start(tmp_path):
    """Starts servers on one data folder, one after the other; all are stopped."""
    servers = []

    def begin(*options):
        server = Server(tmp_path / "data", "--workers", "2", *options)
        servers.append(server)
        server.files = tmp_path / "data" / "files"
        return server.ready()
    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.stop()


def put(server, path, body=b"", expected=201, headers=None):
    status, text, _ = server.request("PUT", f"/files/{path}", body, headers)
    assert status == expected, (status, text)
    return json.loads(text)


def get(server, path, expected=200, headers=None):
    status, body, answer = server.request("GET", f"/files/{path}", headers=headers)
    assert status == expected, (status, body[:500])
    return (body, answer) if headers else body


def delete(server, path, expected=204):
    status, body, _ = server.request("DELETE", f"/files/{path}")
    assert status == expected, (status, body)
    return json.loads(body) if body else None


def listed(server, path, query=""):
    return json.loads(get(server, path + query))


def seen(server, path):
    """What is listed; without the times of folders, of which the disk has its own."""
    return [(entry["name"], entry["bytes"], entry["type"] == "file" and entry["modified_at"])
            for entry in listed(server, path)["files"]]


def names(server, path):
    return [entry["name"] for entry in listed(server, path)["files"]]


def raw(server, target, method="GET", body=b""):
    """The target byte for byte, which no library may tidy up.  Status and code."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode("latin-1") + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(text)["code"] if b"problem+json" in head else None


def curl(*arguments, binary=False):
    done = subprocess.run(["curl", "-sS", *map(str, arguments)], stdout=subprocess.PIPE, check=True, timeout=120)
    return done.stdout if binary else done.stdout.decode()


def quota(server, user, **quotas):
    status, body, _ = server.request("PATCH", f"/users/{user}", json.dumps({"quotas": quotas}), PATCH)
    assert status == 200, body


# --- over HTTP ---------------------------------------------------------------------------------


def test_a_file_comes_and_goes(start):
    server = start()
    answer = put(server, "ada/data/a.csv", b"one")
    assert answer["user"] == "ada" and answer["path"] == "data/a.csv" and answer["bytes"] == 3
    assert answer["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert get(server, "ada/data/a.csv") == b"one"
    assert (server.files / "ada/data/a.csv").read_bytes() == b"one"
    assert put(server, "ada/data/a.csv", b"three", expected=200)["bytes"] == 5
    assert get(server, "ada/data/a.csv") == b"three"
    delete(server, "ada/data/a.csv")
    assert get(server, "ada/data/a.csv", 404) and names(server, "ada/data") == []
    delete(server, "ada/data/a.csv", 404)
    put(server, "ada/empty")
    assert get(server, "ada/empty") == b""


def test_curl_sends_and_fetches_large_files(start, tmp_path):
    server = start()
    url = f"http://127.0.0.1:{server.port}/files/ada"
    large = tmp_path / "large"
    large.write_bytes(os.urandom(5 * MIB + 12345))
    curl("-T", large, f"{url}/folder/")
    assert curl(f"{url}/folder/large", binary=True) == large.read_bytes()
    with large.open("rb") as body:
        subprocess.run(["curl", "-sS", "-T", "-", f"{url}/piped"], stdin=body, stdout=subprocess.DEVNULL, check=True)
    assert curl(f"{url}/piped", binary=True) == large.read_bytes()
    head = curl("-I", f"{url}/piped")
    assert f"Content-Length: {large.stat().st_size}" in head and head.startswith("HTTP/1.1 200")


@pytest.mark.parametrize("bytes_", [1, 65535, 65536, 65537, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB])
def test_sizes_around_those_of_pieces(start, bytes_):
    server = start()
    body = os.urandom(bytes_)
    assert put(server, "ada/f", body)["sha256"] == hashlib.sha256(body).hexdigest()
    assert get(server, "ada/f") == body


def test_lists_have_pages(start):
    server = start()
    for name in ("b", "a", "é", "c/x", "c/y"):
        put(server, "ada/" + name.replace("é", "%C3%A9"), b"12")
    page = listed(server, "ada")
    assert [(entry["name"], entry["type"], entry["bytes"]) for entry in page["files"]] == [
        ("a", "file", 2), ("b", "file", 2), ("c", "folder", 4), ("é", "file", 2)]
    assert page["next"] is None and all(entry["modified_at"].endswith("Z") for entry in page["files"])
    assert listed(server, "ada/") == page
    assert names(server, "ada/c") == names(server, "ada/c/") == ["x", "y"]
    found, after = [], ""
    while after is not None:
        part = listed(server, "ada", f"?limit=1{after and '&after=' + after}")
        found += [entry["name"] for entry in part["files"]]
        after = part["next"]
    assert found == ["a", "b", "c", "é"]
    assert listed(server, "ada", "?after=bb")["files"][0]["name"] == "c"
    for query in ("limit=0", "limit=1001", "limit=x", "limit=1&limit=1", "before=a", "after=%00"):
        assert raw(server, f"/files/ada?{query}") == (400, "bad_request")
    assert raw(server, "/files/ada/a?limit=5") == (400, "bad_request")
    assert get(server, "eve", 404) and get(server, "eve/", 404) and get(server, "eve/x", 404)


def test_folders_go_with_all_that_is_in_them_if_asked(start):
    server = start()
    for name in ("a/b/c", "a/d", "e"):
        put(server, f"ada/{name}", b"x")
    assert delete(server, "ada/a", 409)["code"] == "conflict"
    assert raw(server, "/files/ada/a?recursive=yes", "DELETE") == (400, "bad_request")
    delete(server, "ada/a?recursive=1")
    assert names(server, "ada") == ["e"] and not (server.files / "ada/a").exists()
    put(server, "ada/f/g")
    delete(server, "ada/f/g")
    delete(server, "ada/f")
    delete(server, "ada", 409)
    delete(server, "ada/?recursive=1")
    assert get(server, "ada", 404) and not (server.files / "ada").exists()


def test_conditions_and_ranges(start):
    server = start()
    body = bytes(range(256)) * 1024
    put(server, "ada/f", body)
    _, answer = get(server, "ada/f", headers={"X": "y"})
    tag = answer["ETag"]
    assert answer["Accept-Ranges"] == "bytes"
    assert get(server, "ada/f", 304, {"If-None-Match": f'"other", {tag}'})[0] == b""
    assert get(server, "ada/f", 304, {"If-None-Match": "*"})[1]["ETag"] == tag
    assert get(server, "ada/f", 200, {"If-None-Match": '"other"'})[0] == body
    for wanted, first, last in [("0-0", 0, 0), ("5-9", 5, 9), ("262143-", 262143, 262143), ("262000-999999", 262000, 262143),
                                ("-1", 262143, 262143), ("-999999", 0, 262143), ("1000-200000", 1000, 200000)]:
        part, answer = get(server, "ada/f", 206, {"Range": f"bytes={wanted}"})
        assert part == body[first:last + 1]
        assert answer["Content-Range"] == f"bytes {first}-{last}/{len(body)}"
    for wanted in ("262144-", "-0", "999999-1000000"):
        _, answer = get(server, "ada/f", 416, {"Range": f"bytes={wanted}"})
        assert answer["Content-Range"] == f"bytes */{len(body)}"
    for ignored in ("bytes=1-2,3-4", "bytes=5-4", "bytes=", "bytes=x-", "bytes=--1", "lines=1-2",
                    "bytes=99999999999999999999-"):
        assert get(server, "ada/f", 200, {"Range": ignored})[0] == body
    assert get(server, "ada/f", 200, {"Range": "bytes=0-0", "If-Range": '"x"'})[0] == body
    for wanted in ("0-0", "999999-1000000"):  # there are ranges of GET alone
        status, _, answer = server.request("HEAD", "/files/ada/f", headers={"Range": f"bytes={wanted}"})
        assert (status, answer["Content-Length"], answer["Content-Range"]) == (200, str(len(body)), None)
    put(server, "ada/f", body, expected=200)
    assert get(server, "ada/f", 200, {"If-None-Match": tag})[1]["ETag"] != tag
    assert put(server, "ada/f", b"x", 400, {"Content-Range": "bytes 0-0/5"})["code"] == "bad_request"


@pytest.mark.parametrize("path", ["a%2fb", "a%2Fb", "..%2f..%2fkey", "a%00b", "a%", "a%zz", ".", "..", "a/..", "a/../b",
                                  "%2e%2e/key", "a/%2e", "a//b", "/a", "a%ff", "%c0%af", "%ed%a0%80",
                                  "n" * 256, "a/" + "n" * 256, "/".join("a" * 66), "/".join(["n" * 200] * 21)])
def test_paths_that_cannot_be(start, path):
    server = start()
    for method in ("GET", "PUT", "DELETE"):
        assert raw(server, f"/files/ada/{path}", method) == (400, "bad_name"), method
    assert not (server.files / "ada").exists()


def test_paths_that_can_be(start):
    server = start()
    put(server, "ada/plain")
    good = ["n" * 255, "...", ".hidden", "a%20b", "%C3%A9%F0%9F%98%80", "a+b&c=d", "%25", "a%0Ab", "/".join("a" * 65),
            "/".join(["n" * 199] * 20) + "/" + "m" * 95, "a;b,c"]
    for path in good:
        assert raw(server, f"/files/ada/{path}", "PUT", b"x")[0] == 201, path
        assert raw(server, f"/files/ada/{path}") == (200, None), path
    assert "a b" in names(server, "ada") and "%" in names(server, "ada") and "a\nb" in names(server, "ada")
    for path in good:
        assert raw(server, f"/files/ada/{path}", "DELETE")[0] == 204, path


def test_the_user_and_the_name_of_a_file_must_be_good(start):
    server = start()
    assert raw(server, "/files/.ada/x", "PUT") == (400, "bad_name")
    assert raw(server, "/files/a%2fda/x", "PUT") == (400, "bad_name")
    assert raw(server, "/files/ada/x/", "PUT") == (400, "bad_name")
    assert raw(server, "/files/ada", "PUT") == (405, "method_not_allowed")
    assert raw(server, "/files/ada/x", "POST") == (405, "method_not_allowed")
    assert raw(server, "/files", "GET") == (404, "not_found")
    assert raw(server, "/files/ada/x?y=z", "PUT") == (400, "bad_request")


def test_a_file_and_a_folder_do_not_take_one_anothers_place(start):
    server = start()
    put(server, "ada/a/b")
    assert put(server, "ada/a", b"x", 409)["code"] == "conflict"
    assert put(server, "ada/a/b/c", b"x", 409)["code"] == "conflict"
    assert get(server, "ada/a/b") == b""
    assert get(server, "ada/a/b/c", 404)


def test_size_has_a_setting(start):
    server = start("--set", "user_file_bytes=1000")
    put(server, "ada/f", b"x" * 999)
    put(server, "ada/f", b"x" * 1000, expected=200)
    assert put(server, "ada/f", b"x" * 1001, expected=413)["code"] == "too_large"
    reply = subprocess.run(["curl", "-sS", "-T", "-", f"http://127.0.0.1:{server.port}/files/ada/f"], input=b"y" * 1001,
                           stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(reply)["code"] == "too_large"
    assert get(server, "ada/f") == b"x" * 1000
    assert not list((server.files.parent / "incoming").iterdir())


# --- quotas ------------------------------------------------------------------------------------


def test_bytes_have_a_quota(start):
    server = start()
    quota(server, "ada", files_bytes=1000)
    put(server, "ada/a", b"x" * 999)
    problem = put(server, "ada/b", b"xx", 429)
    assert problem["code"] == "quota" and problem["quota"] == "files_bytes"
    put(server, "ada/b", b"x")
    assert put(server, "ada/c", b"x", 429)["quota"] == "files_bytes"
    put(server, "ada/a", b"y" * 999, expected=200)
    put(server, "bob/a", b"x" * 5000)
    status, body, _ = server.request("GET", "/users/ada")
    use = json.loads(body)["use"]
    assert (use["files_bytes"], use["files_count"]) == (1000, 2)
    delete(server, "ada/b")
    put(server, "ada/c", b"x")


def test_files_and_folders_have_a_quota(start):
    server = start()
    quota(server, "ada", files_count=3)
    put(server, "ada/a")
    put(server, "ada/f/b")
    assert put(server, "ada/c", b"", 429)["quota"] == "files_count"
    put(server, "ada/a", b"again", expected=200)
    delete(server, "ada/a")
    put(server, "ada/c")


def test_a_large_body_over_a_quota_is_refused_in_its_middle(start):
    server = start()
    quota(server, "ada", files_bytes=MIB)
    reply = subprocess.run(["curl", "-sS", "-T", "-", f"http://127.0.0.1:{server.port}/files/ada/f"],
                           input=b"y" * (2 * MIB), stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(reply)["quota"] == "files_bytes"
    assert get(server, "ada", 404)


def test_many_at_once_do_not_exceed_a_quota(start):
    server = start()
    quota(server, "ada", files_bytes=10_000, files_count=7)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def one(index):
            return server.request("PUT", f"/files/ada/f{index}", b"x" * 1000)[0]
        codes = list(pool.map(one, range(24)))
    assert codes.count(201) == 7 and set(codes) == {201, 429}
    assert len(list((server.files / "ada").iterdir())) == 7


# --- life --------------------------------------------------------------------------------------


def test_a_restart_keeps_what_was_answered(start):
    server = start()
    body = os.urandom(MIB)
    for name in ("a", "b/c", "b/d/e"):
        put(server, f"ada/{name}", body)
    tag = get(server, "ada/a", headers={"X": "y"})[1]["ETag"]
    before = seen(server, "ada")
    os.kill(server.child(), signal.SIGKILL)
    server.wait_line(r" ready ", 2)
    assert seen(server, "ada") == before
    assert get(server, "ada/a", headers={"X": "y"})[1]["ETag"] == tag
    server.stop()
    server = start()
    assert seen(server, "ada") == before and get(server, "ada/b/d/e") == body


def test_what_a_crash_left_is_swept(start):
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"PUT /files/ada/f HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 600_000)
        incoming = server.files.parent / "incoming"
        end = time.monotonic() + 30
        while not list(incoming.iterdir()) and time.monotonic() < end:
            time.sleep(0.01)
        assert list(incoming.iterdir())
        os.kill(server.child(), signal.SIGKILL)
        server.wait_line(r" ready ", 2)
    assert not list(incoming.iterdir())
    assert get(server, "ada", 404)


def test_a_client_that_leaves_leaves_nothing(start):
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"PUT /files/ada/f HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 600_000)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        server.request("GET", "/healthz")
        if server.metric("faasm_http_connections") <= 1 and not list((server.files.parent / "incoming").iterdir()):
            break
    assert not list((server.files.parent / "incoming").iterdir())
    assert get(server, "ada", 404)


def test_what_is_copied_in_by_hand_is_there_after_a_restart(start):
    server = start()
    put(server, "ada/a")
    server.stop()
    (server.files / "ada/copied").write_bytes(b"by hand")
    (server.files / "ada/link").symlink_to("../../key")
    (server.files / "ada/dots").symlink_to("../../../")
    os.mkfifo(server.files / "ada/pipe")
    server = start()
    assert names(server, "ada") == ["a", "copied"] and get(server, "ada/copied") == b"by hand"
    for path in ("link", "dots/data/key", "pipe"):
        assert get(server, f"ada/{path}", 404)
    assert put(server, "ada/dots/x", b"", 409)["code"] == "conflict"
    assert (server.files.parent / "key").exists()


def test_a_download_ends_with_the_server(start):
    server = start("--set", "drain_ms=200ms")
    put(server, "ada/f", b"x" * (64 * MIB))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /files/ada/f HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100)
        server.stop()


def test_a_reader_never_sees_a_torn_file(start):
    server = start()
    versions = [bytes([65 + i]) * (300_000 + i) for i in range(8)]
    put(server, "ada/f", versions[0])
    done = False

    def read():
        count = 0
        while not done:
            assert get(server, "ada/f") in versions
            count += 1
        return count
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for i in range(40):
                put(server, "ada/f", versions[i % 8], expected=200)
                assert get(server, "ada/f") == versions[i % 8]
        finally:
            done = True
        assert all(reader.result() > 0 for reader in readers)
    assert not list((server.files.parent / "incoming").iterdir())


# --- calls -------------------------------------------------------------------------------------


def test_a_call_reads_its_users_files(start):
    server = start()
    for name in ("ada/cat", "bob/cat"):
        server.put(name, CAT)
    put(server, "ada/data/small", b"hello")
    large = os.urandom(3 * MIB + 5)
    put(server, "ada/large", large)
    put(server, "ada/empty")
    for _ in range(3):
        assert server.call("ada/cat", b"data/small") == (200, b"hello")
        assert server.call("ada/cat", b"large") == (200, large)
        assert server.call("ada/cat", b"empty") == (200, b"")
    for user, path in (("ada", "missing"), ("bob", "large"), ("bob", "data/small")):
        status, body = server.call(f"{user}/cat", path.encode())
        assert status == 500 and json.loads(body)["exit_code"] == ENOENT
    assert server.metric("faasm_file_loads_total") == 2
    server.wait_metric("faasm_files_bytes", 5 + len(large))


def test_a_call_sees_every_change_that_was_answered(start):
    server = start()
    server.put("ada/cat", CAT)
    for i in range(30):
        put(server, "ada/f", b"%d" % i, expected=200 if i else 201)
        # On a connection of its own each, so on both workers.
        for _ in range(4):
            assert server.call("ada/cat", b"f") == (200, b"%d" % i)
    delete(server, "ada/f")
    for _ in range(4):
        assert json.loads(server.call("ada/cat", b"f")[1])["exit_code"] == ENOENT


def test_a_call_reads_what_was_there_at_its_start(start):
    server = start()
    server.put("ada/slow", SLOW_CAT)
    server.put("ada/cat", CAT)
    put(server, "ada/f", b"old" * 100_000)
    put(server, "ada/g", b"old" * 100_000)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(server.call, "ada/slow", name) for name in (b"f", b"g")]
        server.wait_metric_reaches("faasm_calls_parked", 2)
        put(server, "ada/f", b"new", expected=200)
        delete(server, "ada/g")
        assert server.call("ada/cat", b"f") == (200, b"new")
        assert [future.result() for future in slow] == [(200, b"old" * 100_000)] * 2
    trash = server.files.parent / "trash"
    end = time.monotonic() + 30
    while list(trash.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not list(trash.iterdir())


def test_children_and_asynchronous_calls_read_files_too(start):
    server = start()
    server.put("ada/cat", CAT)
    server.put("ada/parent", PARENT)
    put(server, "ada/f", b"hello")
    assert server.call("ada/parent", b"f") == (200, b"hello")
    call = calls.submit(server, "ada/cat", b"f")
    calls.wait(server, call, "succeeded")
    assert calls.output(server, call) == b"hello"


def test_many_calls_wait_for_the_same_files(start):
    server = start()
    server.put("ada/cat", CAT)
    for i in range(20):
        put(server, f"ada/f{i}", b"%d" % i * 50_000)
    server.stop()
    server = start()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        def one(index):
            return server.call("ada/cat", b"f%d" % (index % 20))
        for i, (status, body) in enumerate(pool.map(one, range(100))):
            assert status == 200 and body == b"%d" % (i % 20) * 50_000
    assert server.metric("faasm_tree_loads_total") == 1


def test_files_in_memory_have_a_bound(start):
    server = start("--set", "files_memory_bytes=1MiB")
    server.put("ada/cat", CAT)
    for i in range(8):
        put(server, f"ada/f{i}", bytes([i]) * 400_000)
    for _ in range(2):
        for i in range(8):
            assert server.call("ada/cat", b"f%d" % i) == (200, bytes([i]) * 400_000)
    end = time.monotonic() + 30
    while server.metric("faasm_files_bytes") > MIB:
        assert time.monotonic() < end
    assert server.metric("faasm_file_loads_total") == 16


def test_a_file_that_cannot_be_read_is_the_calls_own_error(start):
    server = start()
    server.put("ada/cat", CAT)
    put(server, "ada/f", b"hello")
    (server.files / "ada/f").unlink()  # by hand, under a running server
    status, body = server.call("ada/cat", b"f")
    assert status == 500 and json.loads(body)["exit_code"] == ENOENT
    assert get(server, "ada/f", 500)
    put(server, "ada/f", b"again", expected=200)
    assert server.call("ada/cat", b"f") == (200, b"again")
