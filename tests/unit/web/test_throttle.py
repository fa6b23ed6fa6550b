"""Failed logins by name and by address."""

from vb_node.web import throttle
from vb_node.web.throttle import MOST_FAILURES, MOST_KEYS, WINDOW_S, Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_w_16_who_failed_too_often_waits_until_the_window_is_over() -> None:
    clock = Clock()
    guarded = Throttle(clock)

    for _ in range(MOST_FAILURES):
        assert guarded.wait_s("name a", "host b") == 0
        guarded.fail("name a", "host b")

    assert guarded.wait_s("name a", "host other") == WINDOW_S
    assert guarded.wait_s("name other", "host b") == WINDOW_S
    assert guarded.wait_s("name other", "host other") == 0
    clock.now += WINDOW_S
    assert guarded.wait_s("name a", "host b") == 0


def test_who_got_in_begins_anew() -> None:
    guarded = Throttle()
    for _ in range(MOST_FAILURES):
        guarded.fail("name a")

    guarded.forget("name a")

    assert guarded.wait_s("name a") == 0


def test_w_16_a_guesser_with_many_names_fills_no_memory() -> None:
    guarded = Throttle()

    for number in range(MOST_KEYS + 100):
        guarded.fail(f"name {number}")

    assert len(guarded._failures) == throttle.MOST_KEYS
