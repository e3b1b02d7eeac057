"""Asynchronous calls for the end-to-end tests: submitted, asked for, waited for."""
import json

ENDED = ("succeeded", "failed", "cancelled", "dead")


def submit(server, name, body=b"", expected=202, **headers):
    """POST /fa/<name>; headers with _ for -.  The id, or of a refusal the problem."""
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    status, text, answer = server.request("POST", f"/fa/{name}", body, headers)
    assert status == expected, (status, text)
    reply = json.loads(text)
    if status != 202:
        return reply
    assert answer["Location"] == f"/calls/{reply['id']}"
    assert answer["X-Faasm-Durable"] == "yes"
    return reply["id"]


def get(server, call, query=""):
    status, text, _ = server.request("GET", f"/calls/{call}{query}", timeout=60)
    assert status == 200, (status, text)
    return json.loads(text)


def wait(server, call, status=None):
    """Until it has ended, without asking again and again."""
    for _ in range(5):
        record = get(server, call, "?wait=20")
        if record["status"] in ENDED:
            assert status in (None, record["status"]), record
            return record
    raise AssertionError(record)


def wait_until(server, call, *statuses, attempt=None):
    """Until it is in a state that is not its end."""
    for _ in range(20000):
        record = get(server, call)
        if record["status"] in statuses and attempt in (None, record["attempt"]):
            return record
    raise AssertionError(record)


def output(server, call):
    status, body, _ = server.request("GET", f"/calls/{call}/output")
    assert status == 200, body
    return body


def cancel(server, call):
    status, text, _ = server.request("DELETE", f"/calls/{call}")
    assert status == 202, (status, text)
    return json.loads(text)


def pages(server, query, limit):
    """All calls of a list, page by page."""
    after = ""
    for _ in range(1000):
        status, text, _ = server.request("GET", f"/calls?limit={limit}{query}{after}")
        assert status == 200, text
        page = json.loads(text)
        assert len(page["calls"]) <= limit
        yield from page["calls"]
        if page["next"] is None:
            return
        after = f"&after={page['next']}"
    raise AssertionError("endless")
