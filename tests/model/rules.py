"""The rules of docs/gc.md, each of which can be switched off to see what it is for; and the model's clock.

Two more rules, the window and the grace, are switched off by a Clock in which they are 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Clock(NamedTuple):
    """Times in ticks. A real deployment has some length of tick for which

    life of a URL <= url, a request or a client's session <= session, the grace >= grace, the window >= window,
    and a candidate is renewed after no more than renew.

    Whatever it does then happens in the model too, as an interval no longer than n ticks crosses at most n of them and
    one no shorter crosses at least n. Ages stop at the longest time, so time goes on for ever and the states stay few.
    """

    url: int = 1
    session: int = 2
    grace: int = 2
    window: int = 3
    renew: int = 1
    edges_age: bool = True  # False spares states where nobody asks for the age of an edge
    untagged: bool = False  # True: manifests without tag are candidates, and have ages

    @property
    def oldest(self) -> int:
        return max(self.window, self.grace)

    def older(self, age: int) -> int:
        return min(age + 1, self.oldest)


LONG = Clock()
SHORT = Clock(session=1, grace=1, window=2)  # enough where no URL is followed and no promise outlives the grace
NO_WINDOW = LONG._replace(window=0, edges_age=False)  # whatever may be garbage is condemned at once


@dataclass(frozen=True)
class Rules:
    """Every rule is on unless a test switches it off."""

    edges_before_read: bool = True  # a push writes its edges before it reads any state
    edges_onto_both: bool = True  # what an index names is held as a blob and as a manifest, whichever was found
    rescue: bool = True  # who reads `condemned` or `deleting` and relies on the item writes it back to live
    shared_touch: bool = True  # a rescue asks for the incarnation only: two that rescue at once both succeed
    generations: bool = True  # edges belong to one commit of a manifest
    conditional_commit: bool = True  # a commit requires the generation that it read
    tag_in_transaction: bool = True  # a tag is put in the transaction that commits its manifest
    conditional_untag: bool = True  # a delete takes away a tag only while it points at the deleted manifest
    mark_before_look: bool = True  # a manifest or link is marked `deleting` before edges are looked for
    unique_marks: bool = True  # `deleting` names the one delete that set it
    touch_before_unlink: bool = True  # a blob becomes a candidate before the edges onto it go
    condemn_before_look: bool = True  # the collector condemns before it looks for edges
    clear_if_committed: bool = True  # only an edge of a commit that stands lets the collector forget a candidate
    versions: bool = True  # the collector's writes require the version that it read
    consistent_reads: bool = True  # edges are looked for with consistent reads
    record_before_object: bool = True  # the record goes first, the object after
    incarnations: bool = True  # a link counts only for the object key that it was made for
    born_candidates: bool = True  # a new record is a candidate
    renewal: bool = True  # HEAD, mount and upload renew a candidate's time
    idempotent_transactions: bool = True  # a commit repeated after a lost answer is told that it succeeded
    own_object_kept: bool = True  # an upload knows its own record again when the first answer was lost

    marks_have_times: bool = True  # a manifest's candidate mark is lifted only if it is still the one that was read
    referrers_first: bool = True  # referrers are marked before their subject goes
    link_before_record: bool = True  # reconciliation reads a link before the record that it may be of

    @property
    def mark(self) -> str:
        """The mark that a delete requires of the item it deletes."""
        if not self.mark_before_look:
            return "none"
        return "own" if self.unique_marks else "any"
