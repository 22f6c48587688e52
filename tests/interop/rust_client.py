"""Runs in the environment of PyPI's ``tikv-client``, a wrapper of TiKV's client in Rust.

Commands on stdin, answers on stdout; see conftest.  They are handled side by side.
"""

import asyncio
import json
import sys

from tikv_client.asynchronous import RawClient


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
    target = Raw(await RawClient.connect(sys.argv[1:]))
    loop = asyncio.get_running_loop()
    running = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(handle(target, line))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
