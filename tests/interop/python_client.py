"""Runs in the environment of PyPI's ``tikv-python``, a raw client in Python alone.

Commands on stdin, answers on stdout; see conftest.  They are handled side by side, in threads.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from tikv import RawClient, UndeterminedError


def data(value):
    return None if value is None else bytes.fromhex(value)


def told(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [told(one) for one in value]
    return value


class Raw:
    """What a test may ask of a raw cluster."""

    def __init__(self, addresses):
        # With atomic=True all writes agree with compare-and-swap.
        self.client = RawClient(addresses, atomic=True)
        self.loose = RawClient(addresses)

    def put(self, key, value):
        self.client.put(data(key), data(value))

    def get(self, key):
        return self.client.get(data(key))

    def delete(self, key):
        self.client.delete(data(key))

    def scan(self, start, end, limit):
        return list(self.client.scan(data(start), data(end), limit=limit))

    def scan_down(self, start, end, limit):
        return list(self.client.scan(data(start), data(end), limit=limit, reverse=True))

    def scan_keys(self, start, end, limit):
        return list(self.client.scan_keys(data(start), data(end), limit=limit))

    def batch_put(self, pairs):
        self.client.put_many([(data(key), data(value)) for key, value in pairs])

    def batch_get(self, keys):
        return sorted(self.client.get_many([data(key) for key in keys]).items())

    def batch_delete(self, keys):
        self.client.delete_many([data(key) for key in keys])

    def delete_range(self, start, end):
        self.loose.delete_range(data(start), data(end))

    def swap(self, key, expected, new):
        return list(self.client.compare_and_swap(data(key), data(expected), data(new)))

    def put_for_a_time(self, key, value, seconds):
        self.client.put(data(key), data(value), ttl=seconds)

    def ttl(self, key):
        return self.client.ttl(data(key))


def handle(target, line, lock):
    command = json.loads(line)
    try:
        result = getattr(target, command["verb"])(*command["arguments"])
        answer = {"id": command["id"], "result": told(result)}
    except Exception as error:  # noqa: BLE001  the test is told, and judges
        # Only of compare-and-swap is it told apart; other writes are sent again until they end.
        unknown = isinstance(error, UndeterminedError) or command["verb"] != "swap"
        answer = {"id": command["id"], "error": repr(error), "unknown": unknown}
    with lock:
        print(json.dumps(answer), flush=True)


def main():
    target = Raw(sys.argv[1:])
    lock = threading.Lock()
    with ThreadPoolExecutor(8) as pool:
        for line in sys.stdin:
            pool.submit(handle, target, line, lock)


main()
