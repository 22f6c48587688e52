r"""A key-value service of a few nodes, such as you might have.  It knows nothing of splitbrain.

    python3 server.py --name n2 --listen 127.0.0.1:8002 --data /var/lib/kv \
        --peers n1=127.0.0.1:8001,n3=127.0.0.1:8003 --primary n1

    GET  /KEY                              200 {"value": ...}, null for a key that is absent
    PUT  /KEY  {"value": ...}              200 {}
    POST /KEY  {"old": ..., "new": ...}    200 {}, or 409 {"value": ...} where that is not old
    503: it was not done                   504: nobody knows whether it was done

The primary has the data, and fsyncs a log of every change before it answers.  The others pass requests
on to it.  With ``--stale`` a node answers reads from a copy that it takes once a second.
"""

import argparse
import json
import os
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Primary:
    """The data, and its log: a line ``[key, value]`` for each change."""

    def __init__(self, directory):
        self.lock, self.data, whole = threading.Lock(), {}, 0
        self.log = (Path(directory) / "log.jsonl").open("a+b")
        self.log.seek(0)
        for line in self.log.read().splitlines(keepends=True):
            if line.endswith(
                b"\n"
            ):  # else a kill has torn it, and nobody was told that it was done
                key, value = json.loads(line)
                self.data[key] = value
                whole += len(line)
        self.log.truncate(whole)

    def do(self, method, key, body):
        """The status and the answer to a request."""
        with self.lock:
            value = self.data.get(key)
            if method == "GET":
                return 200, {"value": value if key else dict(self.data)}
            if method == "POST" and value != body["old"]:
                return 409, {"value": value}
            value = body["new" if method == "POST" else "value"]
            self.log.write(json.dumps([key, value]).encode() + b"\n")
            self.log.flush()
            os.fsync(self.log.fileno())
            self.data[key] = value
            return 200, {}


class Secondary:
    """Passes requests on to the primary."""

    def __init__(self, primary):
        self.primary = primary

    def do(self, method, key, body):
        """What the primary says; if it says nothing, whether it may have heard."""
        link = HTTPConnection(self.primary, timeout=1.0)
        try:
            link.connect()
        except OSError as error:
            return 503, {"error": f"no connection to the primary: {error}"}
        try:
            link.request(method, f"/{key}", json.dumps(body))
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, ValueError, HTTPException) as error:
            return 504, {"error": f"no answer of the primary: {error}"}
        finally:
            link.close()


class Stale:
    """Answers reads from a copy; passes the rest on to the node that it stands before."""

    def __init__(self, node):
        self.node, self.copy = node, {}
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        """Take a copy once a second."""
        while True:
            status, answer = self.node.do("GET", "", None)
            self.copy = answer["value"] if status == 200 else self.copy
            time.sleep(1.0)

    def do(self, method, key, body):
        """Reads are quick, and old."""
        if method == "GET" and key:
            return 200, {"value": self.copy.get(key)}
        return self.node.do(method, key, body)


class Handler(BaseHTTPRequestHandler):
    """HTTP around ``do``."""

    node = None

    def do_GET(self):
        """One request, of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = self.node.do(self.command, self.path[1:], json.loads(body or b"null"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_PUT = do_POST = do_GET

    def log_message(self, *words):
        """Say nothing of each request."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("--name", "--listen", "--data", "--peers", "--primary"):
        parser.add_argument(option, required=True)
    parser.add_argument("--stale", action="store_true")
    given = parser.parse_args()
    peers = dict(peer.split("=") for peer in given.peers.split(","))
    primary = given.name == given.primary
    Handler.node = Primary(given.data) if primary else Secondary(peers[given.primary])
    Handler.node = Stale(Handler.node) if given.stale else Handler.node
    ThreadingHTTPServer.request_queue_size = 128
    host, port = given.listen.split(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
