"""Many nemeses as one: each operation goes to the one that understands its ``f``."""

from __future__ import annotations

from collections.abc import Sequence

from splitbrain.contracts.nemesis import Nemesis
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op

__all__ = ["ComposedNemesis"]


class ComposedNemesis:
    """Dispatches by ``f``.

    Raises:
        HarnessError: two nemeses understand the same function.
    """

    def __init__(self, nemeses: Sequence[Nemesis]) -> None:
        self._nemeses = tuple(nemeses)
        self._by_function: dict[str, Nemesis] = {}
        twice = []
        for nemesis in self._nemeses:
            for f in sorted(nemesis.functions):
                if f in self._by_function:
                    twice.append(f)
                self._by_function[f] = nemesis
        if twice:
            raise HarnessError(
                f"several nemeses understand {', '.join(sorted(set(twice)))}; "
                f"rename the functions of one of them"
            )

    @property
    def functions(self) -> frozenset[str]:
        """All that any of them understands."""
        return frozenset(self._by_function)

    async def setup(self) -> None:
        """In their order."""
        for nemesis in self._nemeses:
            await nemesis.setup()

    async def invoke(self, op: Op) -> Op:
        """Hand the operation to the nemesis that understands it."""
        nemesis = self._by_function.get(op.f)
        if nemesis is None:
            known = ", ".join(sorted(self._by_function)) or "none"
            raise HarnessError(f"no nemesis understands {op.f!r}; known functions: {known}")
        return await nemesis.invoke(op)

    async def teardown(self) -> None:
        """In reverse order; all of them, even if one fails."""
        failures = []
        for nemesis in reversed(self._nemeses):
            try:
                await nemesis.teardown()
            except Exception as exc:  # noqa: BLE001 - the others must still heal
                failures.append(exc)
        if failures:
            raise failures[0]
