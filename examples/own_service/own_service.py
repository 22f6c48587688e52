"""A test of server.py: how nodes are started, how clients speak to them, what clients do."""

import json
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import splitbrain as sb

SERVER = Path(__file__).with_name("server.py").read_bytes()


class Client:
    """A session with one node.  It may block: each session has a thread of its own."""

    def __init__(self, address, timeout_s):
        self.link = HTTPConnection(address, timeout=timeout_s)

    def get(self, key):
        return self.ask("GET", key)

    def put(self, key, value):
        self.ask("PUT", key, {"value": value})

    def cas(self, key, old, new):
        self.ask("POST", key, {"old": old, "new": new})

    def ask(self, method, key, body=None):
        """The value, or ``Definite`` if it was not done, or ``Undetermined`` if nobody knows."""
        try:
            self.link.request(method, f"/{key}", json.dumps(body))
            answer = self.link.getresponse()
            status, said = answer.status, json.loads(answer.read())
        except (OSError, ValueError, HTTPException) as error:
            status = 503 if isinstance(error, ConnectionRefusedError) else 504
            said = {"error": str(error)}
        finally:
            self.link.close()
        if status == 409:
            raise sb.Definite("cas-mismatch", observed=said["value"])
        if status == 503 or (status != 200 and method == "GET"):
            raise sb.Definite("unavailable", said["error"])
        if status != 200:
            raise sb.Undetermined("no-answer", said["error"])
        return said.get("value")


class OwnService(sb.ProgramSystem):
    """The service; the first node is its primary, which faults aim at more often."""

    name, client, election_s = "own-service", Client, 0.5

    def program(self, spec, node, links):
        """What a node runs.  It dials the others by ``links``, which can be cut."""
        peers = ",".join(f"{name}={address}" for name, address in links.items())
        argv = ["python3", f"{node.config_dir}/server.py", "--name", node.name]
        argv += ["--listen", node.address, "--data", node.data_dir]
        argv += ["--peers", peers, "--primary", spec.nodes[0]]
        argv += ["--stale"] if spec.options.get("stale") else []
        return sb.Program(name="kv", argv=tuple(argv), files={"server.py": SERVER})

    async def primaries(self, spec, testbed):
        return spec.nodes[:1]


def own_kv(spec):
    """Reads, writes and compare-and-swaps of 50 keys, which must be linearizable."""
    return sb.Workload(
        name="own-kv",
        vocabulary="kv",
        generator=sb.kv_ops(read=8, write=1, cas=1, keys=50),
        client=sb.KvClient,
        checkers={"linearizable": sb.LinearizableChecker("cas-register")},
        functions=("read", "write", "cas"),
        answers=frozenset({"cas-mismatch"}),
    )


SYSTEMS = {"own-service": OwnService}
WORKLOADS = {"own-kv": own_kv}
OPTIONS = {"stale": "own-service: nodes answer reads from a copy that they take once a second"}
