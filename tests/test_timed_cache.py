from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.timed_cache import TimedCache


def test_an_entry_lives_its_seconds_and_a_cached_none_is_told_from_nothing() -> None:
    clock = [0.0]
    cache: TimedCache[str, int | None] = TimedCache(2, lambda: clock[0])
    assert cache.get("a") is None
    assert cache.put("a", None, 10) is None
    assert cache.get("a") == (None,)
    clock[0] = 10.1
    assert cache.get("a") is None


def test_a_dropped_entry_is_gone() -> None:
    cache: TimedCache[str, int] = TimedCache(2)
    cache.put("a", 1, 60)
    cache.put("b", 2, 60)
    cache.drop("a")
    cache.drop("never")
    assert cache.get("a") is None
    cache.clear()
    assert cache.get("b") is None


@given(st.lists(st.integers(0, 9)), st.integers(1, 4))
def test_it_holds_the_last_written(keys: list[int], size: int) -> None:
    cache: TimedCache[int, int] = TimedCache(size)
    for key in keys:
        cache.put(key, key, 60)
    newest = list(dict.fromkeys(reversed(keys)))[:size]
    assert [key for key in range(10) if cache.get(key)] == sorted(newest)


def test_what_has_expired_takes_no_room() -> None:
    """Whatever else is put, and however long that lives."""
    clock = [0.0]
    cache: TimedCache[int, int] = TimedCache(4096, lambda: clock[0])
    for key in range(1000):
        cache.put(key, key, 60 if key % 100 == 0 else 5)
        clock[0] += 1
        assert len(cache._entries) <= 4 * 16
    assert cache.get(999) == (999,)
