"""Runs in the environment of PyPI's ``tikv-client``, a wrapper of TiKV's client in Rust.

    rust_client.py raw|txn ADDRESS...

Commands on stdin, answers on stdout; see conftest.  They are handled side by side.
"""

import asyncio
import itertools
import json
import sys

from tikv_client.asynchronous import RawClient, TransactionClient


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

    def __init__(self, client):
        self.client = client

    async def put(self, key, value):
        await self.client.put(data(key), data(value))

    async def get(self, key):
        return await self.client.get(data(key))

    async def delete(self, key):
        await self.client.delete(data(key))

    async def scan(self, start, end, limit):
        return await self.client.scan(data(start), data(end), limit)

    async def scan_keys(self, start, end, limit):
        return await self.client.scan_keys(data(start), data(end), limit)

    async def batch_put(self, pairs):
        await self.client.batch_put({data(key): data(value) for key, value in pairs})

    async def batch_get(self, keys):
        return sorted(await self.client.batch_get([data(key) for key in keys]))

    async def batch_delete(self, keys):
        await self.client.batch_delete([data(key) for key in keys])

    async def delete_range(self, start, end):
        await self.client.delete_range(data(start), data(end))


class Txn:
    """What a test may ask of a transactional cluster; transactions have numbers."""

    def __init__(self, client):
        self.client = client
        self.numbers = itertools.count(1)
        self.open = {}

    async def timestamp(self):
        return str(await self.client.current_timestamp())

    async def begin(self, pessimistic):
        number = next(self.numbers)
        self.open[number] = await self.client.begin(pessimistic)
        return number

    async def get(self, number, key):
        return await self.open[number].get(data(key))

    async def get_for_update(self, number, key):
        return await self.open[number].get_for_update(data(key))

    async def batch_get(self, number, keys):
        return sorted(await self.open[number].batch_get([data(key) for key in keys]))

    async def scan(self, number, start, end, limit):
        return list(await self.open[number].scan(data(start), data(end), limit))

    async def put(self, number, key, value):
        await self.open[number].put(data(key), data(value))

    async def insert(self, number, key, value):
        await self.open[number].insert(data(key), data(value))

    async def delete(self, number, key):
        await self.open[number].delete(data(key))

    async def lock(self, number, keys):
        await self.open[number].lock_keys([data(key) for key in keys])

    async def commit(self, number):
        await self.open[number].commit()

    async def rollback(self, number):
        await self.open[number].rollback()


async def handle(target, line):
    command = json.loads(line)
    try:
        result = await getattr(target, command["verb"])(*command["arguments"])
        answer = {"id": command["id"], "result": told(result)}
    except Exception as error:  # noqa: BLE001  the test is told, and judges
        # The wrapper has one class for all errors: none says that nothing was done.
        answer = {"id": command["id"], "error": str(error), "unknown": True}
    print(json.dumps(answer), flush=True)


async def main():
    mode, *addresses = sys.argv[1:]
    if mode == "raw":
        target = Raw(await RawClient.connect(addresses))
    else:
        target = Txn(await TransactionClient.connect(addresses))
    loop = asyncio.get_running_loop()
    running = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(handle(target, line))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
