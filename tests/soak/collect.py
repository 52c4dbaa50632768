"""Collects without a pause until its standard input ends; then once more, and looks at what is left.

python -m tests.soak.collect [blind]

In the environment of a running Berth's functions. `blind` turns the handshake off: nothing is seen to be in use.
"""

from __future__ import annotations

import sys
import threading
import time


def main() -> None:
    from chalicelib.gc import look, rounds, times, work
    from chalicelib.gc.look import Hold, Inspection
    from chalicelib.gc.store import blobs
    from chalicelib.storage.conditions import new_id
    from tests.gc import collector
    from tests.gc.referenced import assert_only_what_is_referenced

    if "blind" in sys.argv:

        def see_nothing(digest: str, _times: object, **_options: object) -> Inspection:
            pages = list(blobs.partition(digest))
            return Inspection(pages[0].blob, Hold.FREE, [link for page in pages for link in page.links])

        look.inspect_blob = see_nothing  # type: ignore[assignment]

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    limits, purged = times.of(None), 0
    while not ended.is_set():
        run = new_id()
        for task in rounds.plan(run, 0, [rounds.MANIFESTS, rounds.BLOBS], limits):
            purged += rounds.carry_out(run, task, limits, lambda _part, _tally: not ended.is_set()).purged_blobs
        work.drop(run)
        time.sleep(0.1)
    print(f"purged {purged} blobs beside clients", flush=True)
    if "blind" in sys.argv:
        return
    for _ in range(2):
        time.sleep(limits.window / 1000 + 1)
        collector.run(limits, reconcile=True)
    assert_only_what_is_referenced()
    print("what is left is what is referenced", flush=True)


if __name__ == "__main__":
    main()
