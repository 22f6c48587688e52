"""Which runs, in which order: shards share nothing and together are the whole."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from splitbrain.commands.drill.plan import Pace, Turn, estimate_s, make_plan

SECONDS = st.lists(
    st.tuples(st.sampled_from(["sim", "local"]), st.floats(1, 600), st.integers(1, 20)),
    min_size=1,
    max_size=30,
)


def scenarios(make: Any, seconds: list[tuple[str, float, int]]) -> list[Any]:
    return [
        make.scenario(
            f"s{number}", substrate=on, time_limit_s=limit, seeds=tuple(range(1, seeds + 1))
        )
        for number, (on, limit, seeds) in enumerate(seconds)
    ]


class CheckShards:
    @given(SECONDS, st.integers(1, 8))
    def test_they_are_disjoint_and_make_the_whole(
        self, make: Any, seconds: list[tuple[str, float, int]], count: int
    ) -> None:
        drill = make.drill(*scenarios(make, seconds))
        whole = make_plan(drill)
        shards = [make_plan(drill, shard=(number, count)) for number in range(1, count + 1)]
        turns = [turn for shard in shards for turn in shard.turns]
        assert sorted(turns, key=lambda turn: (turn.scenario, turn.seed)) == list(whole.turns)
        assert sum(len(shard.members) for shard in shards) == len(drill.scenarios)
        longest = max(estimate_s(one.spec) * len(one.seeds) for one in drill.scenarios)
        times = [shard.seconds for shard in shards]
        assert max(times) - min(times) <= longest + 1e-6, "no shard has much more than another"

    def test_what_failed_on_one_machine_does_not_move_them(self, make: Any) -> None:
        drill = make.drill(*(make.scenario(f"s{n}") for n in range(5)))
        remembered = {"s0": (4, 5, 6), "s3": (9,)}
        for number in (1, 2):
            plain = make_plan(drill, shard=(number, 2))
            again = make_plan(drill, shard=(number, 2), remembered=remembered)
            assert again.members == plain.members
            assert {turn.scenario for turn in again.turns} == set(plain.members)


def test_seeds_that_failed_come_first_and_once(make: Any) -> None:
    drill = make.drill(make.scenario("a", seeds=(1, 2, 3)), make.scenario("b", seeds=(1, 2)))
    plan = make_plan(drill, remembered={"b": (2, 77), "a": (3,), "gone": (1,)})
    assert plan.turns == (
        Turn(0, 3, True),
        Turn(1, 2, True),
        Turn(1, 77, True),
        Turn(0, 1),
        Turn(0, 2),
        Turn(1, 1),
    )
    assert [place for place, _ in plan.groups()] == [0, 1, 0, 1]
    assert plan.spec(plan.turns[2]).seed == 77


def test_the_pace_is_learned(make: Any) -> None:
    pace = Pace()
    local = make.scenario("a", substrate="local", time_limit_s=20).spec
    longer = make.scenario("b", substrate="local", time_limit_s=50).spec
    sim = make.scenario("c", time_limit_s=20).spec
    assert pace.expected_s(0, local) == 30
    pace.learn(0, local, 25.0)
    assert pace.expected_s(0, local) == 25, "its own longest run"
    pace.learn(0, local, 60.0)
    pace.learn(0, local, 25.0)
    assert pace.expected_s(0, local) == 60
    assert pace.expected_s(1, longer) == 120, "twice as slow as estimated, as the other was"
    assert pace.expected_s(2, sim) == estimate_s(sim), "another substrate"
