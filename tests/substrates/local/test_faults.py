"""What a set of faults makes of each link: pure."""

from __future__ import annotations

from splitbrain.contracts.fault import Shape
from splitbrain.substrates.local.faults import CLIENT, Cutting, Shaping, fold
from splitbrain.substrates.proxy.messages import Flow, LinkState

AB, BA, AC = ("a", "b"), ("b", "a"), ("a", "c")
PROXIES = [AB, BA, AC, (CLIENT, "a")]


def test_no_fault_is_clean() -> None:
    assert fold(PROXIES, []) == dict.fromkeys(PROXIES, LinkState())


def test_a_one_way_cut_holds_what_goes_forward_and_nothing_else() -> None:
    states = fold(PROXIES, [Cutting(links=(AB,))])
    assert states[AB] == LinkState(forward=Flow(hold=True))
    assert states[BA] == LinkState()
    assert states[AC] == LinkState()


def test_a_cut_both_ways_holds_every_byte() -> None:
    states = fold(PROXIES, [Cutting(links=(AB, BA))])
    everything = LinkState(forward=Flow(hold=True), backward=Flow(hold=True))
    assert states[AB] == states[BA] == everything


def test_cuts_of_two_faults_meet() -> None:
    states = fold(PROXIES, [Cutting(links=(AB,)), Cutting(links=(BA,))])
    assert states[AB].backward.hold
    assert states[BA].backward.hold


def test_a_reset_outdoes_a_hold() -> None:
    states = fold(PROXIES, [Cutting(links=(AB,), reset=True), Cutting(links=(AB, BA))])
    assert states[AB].reset
    assert states[AB].forward.hold
    assert not states[BA].reset
    assert states[BA].backward.hold


def test_shapes_add_up_and_the_lowest_rate_holds() -> None:
    slow = Shaping(links=(AB,), shape=Shape(delay_ms=10, jitter_ms=1, rate_kbps=100))
    slower = Shaping(links=(AB, AC), shape=Shape(delay_ms=20, rate_kbps=50))
    states = fold(PROXIES, [slow, slower, Shaping(links=(AB,), shape=Shape(jitter_ms=2))])
    assert states[AB].forward == Flow(delay_ms=30, jitter_ms=3, rate_kbps=50)
    assert states[AB].backward == Flow()
    assert states[AC].forward == Flow(delay_ms=20, rate_kbps=50)


def test_a_shape_both_ways_delays_backward_bytes_by_the_other_direction() -> None:
    out = Shaping(links=(AB,), shape=Shape(delay_ms=10))
    back = Shaping(links=(BA,), shape=Shape(delay_ms=20))
    states = fold(PROXIES, [out, back])
    assert states[AB] == LinkState(forward=Flow(delay_ms=10), backward=Flow(delay_ms=20))
    assert states[BA] == LinkState(forward=Flow(delay_ms=20), backward=Flow(delay_ms=10))


def test_a_shaped_link_can_be_cut_too() -> None:
    states = fold(
        PROXIES, [Shaping(links=(AB,), shape=Shape(delay_ms=10)), Cutting(links=(AB,))]
    )
    assert states[AB].forward == Flow(hold=True, delay_ms=10)


def test_client_links_are_exact_both_ways() -> None:
    to, back = (CLIENT, "a"), ("a", CLIENT)
    assert fold(PROXIES, [Cutting(links=(to,))])[to] == LinkState(forward=Flow(hold=True))
    assert fold(PROXIES, [Cutting(links=(back,))])[to] == LinkState(backward=Flow(hold=True))
    assert fold(PROXIES, [Cutting(links=(back,), reset=True)])[to].reset
