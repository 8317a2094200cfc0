"""Of several requests under one Idempotency-Key, whichever process has them, one works."""

import pytest

from service.catalog.access_records import AnswerClaim, SavedAnswer
from service.errors import UnknownItem

ANSWER = SavedAnswer("digest", 201, b'{"a": 1}', {"etag": '"1"'})
LATER = SavedAnswer("digest", 201, b'{"a": 2}')


@pytest.fixture
def claim(catalog, ours):
    def run(owner, key="key", lease_s=60.0, workspace_id=ours):
        return catalog.claim_answer(workspace_id, key, "digest", owner=owner, lease_s=lease_s)

    return run


def save(catalog, workspace_id, owner, answer=ANSWER, **fields):
    catalog.save_answer(workspace_id, "key", answer, keep_s=60, owner=owner, **fields)


def test_the_first_may_work_and_the_second_must_wait(claim):
    assert claim("first") == AnswerClaim(None, is_mine=True, forgettings=0)
    assert claim("second") == AnswerClaim(None, is_mine=False, forgettings=0)


def test_whoever_claims_a_key_again_renews_it(claim):
    assert claim("first", lease_s=0).is_mine
    assert claim("first").is_mine
    assert not claim("second").is_mine


def test_who_waited_gets_the_answer_of_who_worked(catalog, ours, claim):
    claim("first")
    claim("second")
    save(catalog, ours, "first")
    for owner in ("first", "second", "third"):
        assert claim(owner) == AnswerClaim(ANSWER, is_mine=False, forgettings=0)


def test_a_claim_without_an_answer_is_given_up(catalog, ours, claim):
    claim("first")
    catalog.release_answer(ours, "key", "second")  # not its claim
    assert not claim("second").is_mine
    catalog.release_answer(ours, "key", "first")
    assert claim("second").is_mine


def test_a_claim_that_ran_out_is_taken_over_and_the_late_answer_refused(catalog, ours, claim):
    claim("dead", lease_s=0)
    assert claim("second").is_mine
    save(catalog, ours, "dead", LATER)
    assert catalog.find_answer(ours, "key") is None
    assert not claim("third").is_mine, "the claim of the second request ended"
    save(catalog, ours, "second")
    assert catalog.find_answer(ours, "key") == ANSWER


def test_a_claim_that_ran_out_still_gives_its_answer_if_nobody_took_it(catalog, ours, claim):
    claim("slow", lease_s=0)
    save(catalog, ours, "slow")
    assert claim("second").saved == ANSWER


def test_an_answer_that_may_repeat_what_was_erased_frees_the_key(catalog, ours, claim, add):
    add(1, subject_id="P-1")
    begun = claim("first")
    catalog.erase_subject(ours, "P-1")
    save(catalog, ours, "first", forgettings=begun.forgettings)
    again = claim("second")
    assert (again.saved, again.is_mine) == (None, True)
    assert again.forgettings == begun.forgettings + 1


def test_an_answer_that_expired_leaves_its_key_to_the_next(catalog, ours, claim):
    claim("first")
    catalog.save_answer(ours, "key", ANSWER, keep_s=0, owner="first")
    assert claim("second").is_mine


def test_keys_and_workspaces_are_claimed_apart(theirs, claim):
    claim("first")
    assert claim("second", key="other").is_mine
    assert claim("second", workspace_id=theirs).is_mine


def test_nobody_claims_a_key_of_no_workspace(claim):
    with pytest.raises(UnknownItem):
        claim("first", workspace_id="ws_none")
