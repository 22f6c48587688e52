"""What a single object does, said as a function from state and action to state.

A history is linearizable if its calls can be put in one order, each at some moment between its
invocation and its completion, such that a *model* accepts them one after another.  A model turns a
pair of events into an **action** (a hashable tuple, result included), and steps states by actions:

    >>> model = make_model("cas-register")
    >>> state = model.step(model.init(), ("write", 3))
    >>> state, model.step(state, ("cas", 3, 4)), model.step(state, ("read", 9))
    (3, 4, None)

``None`` from ``step`` means impossible, so a register that holds nothing has the state NIL.

Actions of the register family (register, cas-register, kv), of which engines know the meaning:

========================  ==============================================================
``("read", v)``           possible if the state is v
``("not", v)``            possible if the state is not v: a failed cas that saw a mismatch
``("write", v)``          always possible; the state becomes v (a delete writes NIL)
``("cas", old, new)``     possible if the state is old; becomes new
``("append", s)``         always possible; the state becomes state + s (NIL counts as "")
========================  ==============================================================

A failed operation never happened and is dropped, with two exceptions, which are observations: a
completion whose ``ext`` has ``observed`` read that value; one whose ``ext`` has ``mismatch`` true,
a cas, saw something else than its old value.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final, Literal, Protocol

from splitbrain.errors import RequestError, UnknownName
from splitbrain.history.history import Frozen, History, freeze
from splitbrain.history.op import Op

__all__ = ["MODELS", "NIL", "Action", "Model", "NilReads", "Register", "make_model", "show"]

Action = tuple[Any, ...]
State = Hashable
NilReads = Literal["value", "wildcard"]


class _Nil:
    """The state of a register that holds nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "nil"

    def __reduce__(self) -> str:
        return "NIL"


NIL: Final = _Nil()


def nilled(value: Any) -> Any:
    """A value as it may be a state: hashable, None made NIL."""
    return NIL if value is None else freeze(value)


def show(value: Any) -> str:
    """A value in words for a reader."""
    if isinstance(value, tuple) and value[:1] == (Frozen.MAP,):
        return "{" + ", ".join(f"{show(name)} {show(item)}" for name, item in value[1:]) + "}"
    if isinstance(value, tuple):
        return "[" + " ".join(show(item) for item in value) + "]"
    if isinstance(value, str):
        return f'"{value if len(value) <= 40 else value[:18] + "..." + value[-18:]}"'
    return "nil" if value is None else str(value)


class Model(Protocol):
    """A sequential object.  Frozen, and its answers depend on its arguments alone."""

    name: str
    family: str | None
    """``register`` if the actions are those of the register family; None for any other."""

    def init(self) -> State:
        """The first state; hashable, never None."""

    def step(self, state: State, action: Action) -> State | None:
        """The state after ``action``, or None where it is impossible."""

    def action(self, invoke: Op, completion: Op | None) -> Action | None:
        """What this call does, or None if it constrains nothing and is to be dropped.

        A completion of None or of type info leaves it open whether and when it happened: such an
        action must have its full effect or, where the model says impossible, none.
        """

    def split(self, history: History) -> Mapping[Any, History]:
        """Independent parts of a history, by key; a model that has none returns one part."""

    def describe(self, action: Action) -> str:
        """The action in a few words, such as ``read 3``."""


class Register:
    """One value per key, with those of the family's operations that its name allows.

    Args:
        name: ``register`` (read, write), ``cas-register`` (and cas, delete) or ``kv`` (and append,
            with the aliases get and put).
        initial: the value before any write; None for nothing.
        nil_reads: what an ok read of None means.  ``value``: it saw that nothing was there.
            ``wildcard``: it says nothing, as in Knossos's histories.
    """

    family: str | None = "register"
    __slots__ = ("_functions", "_initial", "_wildcard", "name")

    def __init__(
        self, name: str, *, initial: Any = None, nil_reads: NilReads = "value"
    ) -> None:
        self.name = name
        self._functions = MODELS[name]
        self._initial: State = nilled(initial)
        self._wildcard = nil_reads == "wildcard"

    def init(self) -> State:
        """The initial value."""
        return self._initial

    def step(self, state: State, action: Action) -> State | None:
        """See the module's table."""
        kind, after = action[0], state
        if kind == "read":
            return state if state == action[1] else None
        if kind == "not":
            return state if state != action[1] else None
        if kind == "cas":
            after = action[2] if state == action[1] else None
        elif kind == "write":
            after = action[1]
        elif kind == "append":
            after = action[1] if state is NIL else f"{state}{action[1]}"
        return after

    def action(self, invoke: Op, completion: Op | None) -> Action | None:
        """See the module's docstring."""
        function = self._functions.get(invoke.f)
        if function is None:
            raise RequestError(
                f"event {invoke.index}: model {self.name} has no function {invoke.f!r}; "
                f"it knows {', '.join(sorted(self._functions))}; choose another --model"
            )
        if completion is not None and completion.type == "fail":
            return self._observation(function, invoke, completion)
        known = completion is not None and completion.type == "ok"
        if function == "read":
            if not known or completion is None:
                return None
            if completion.value is None and self._wildcard:
                return None
            return ("read", nilled(completion.value))
        if function == "delete":
            return ("write", NIL)
        if function == "cas":
            old, new = _pair(invoke)
            return ("cas", nilled(old), nilled(new))
        if function == "append" and not isinstance(invoke.value, str):
            raise RequestError(
                f"event {invoke.index}: the value of an append is a string, "
                f"not {invoke.value!r}"
            )
        return (function, nilled(invoke.value))

    def _observation(self, function: str, invoke: Op, completion: Op) -> Action | None:
        ext = completion.ext or {}
        if "observed" in ext:
            return ("read", nilled(ext["observed"]))
        if function == "cas" and ext.get("mismatch") is True:
            return ("not", nilled(_pair(invoke)[0]))
        return None

    def split(self, history: History) -> Mapping[Any, History]:
        """By key: registers are independent of each other (locality, Herlihy & Wing 1990)."""
        return history.by_key()

    def describe(self, action: Action) -> str:
        """``read 3``, ``cas 3 to 4``, ``see other than 3``."""
        if action[0] == "cas":
            return f"cas {show(action[1])} to {show(action[2])}"
        if action[0] == "not":
            return f"see other than {show(action[1])}"
        if action == ("write", NIL):
            return "delete"
        return f"{action[0]} {show(action[1])}"


_REGISTER: Final = {"read": "read", "write": "write"}
_CAS: Final = _REGISTER | {"cas": "cas", "delete": "delete"}
MODELS: Final[Mapping[str, Mapping[str, str]]] = {
    "register": _REGISTER,
    "cas-register": _CAS,
    "kv": _CAS | {"append": "append", "get": "read", "put": "write"},
}
"""Names of the models that splitbrain brings, and the functions that each knows."""


def make_model(name: str, *, initial: Any = None, nil_reads: NilReads = "value") -> Register:
    """The model of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in MODELS:
        raise UnknownName("model", name, MODELS)
    return Register(name, initial=initial, nil_reads=nil_reads)


def _pair(invoke: Op) -> tuple[Any, Any]:
    value = invoke.value
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise RequestError(
            f"event {invoke.index}: the value of a cas is [old, new], not {value!r}"
        )
    return value[0], value[1]
