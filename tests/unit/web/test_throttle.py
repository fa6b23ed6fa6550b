"""Failed logins by name and by address."""

from vb_node.web.throttle import MOST_FAILURES, MOST_KEYS, WINDOW_S, Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_w_16_who_failed_too_often_waits_until_the_window_is_over() -> None:
    clock = Clock()
    guarded = Throttle(clock)

    first = [guarded.attempt("name a", "host b") for _ in range(MOST_FAILURES)]

    assert first == [0] * MOST_FAILURES
    assert guarded.attempt("name a", "host other") == WINDOW_S
    assert guarded.attempt("name other", "host b") == WINDOW_S
    assert guarded.attempt("name other", "host other") == 0
    clock.now += WINDOW_S
    assert guarded.attempt("name a", "host b") == 0


def test_who_gets_in_never_waits() -> None:
    guarded = Throttle()

    for _ in range(3 * MOST_FAILURES):
        assert guarded.attempt("name a", "host b") == 0
        guarded.succeed("name a", "host b")


def test_w_16_one_that_got_in_does_not_clear_what_its_address_guessed() -> None:
    guarded = Throttle()
    for _ in range(MOST_FAILURES - 1):
        guarded.attempt("name a", "host b")

    guarded.attempt("name mine", "host b")
    guarded.succeed("name mine", "host b")
    last = guarded.attempt("name a", "host b")

    assert last == 0
    assert guarded.attempt("name mine", "host b") > 0


def test_w_16_a_guesser_with_many_names_fills_no_memory() -> None:
    guarded = Throttle()

    for number in range(MOST_KEYS + 100):
        guarded.attempt(f"name {number}")

    assert len(guarded._failures) == MOST_KEYS
