"""Deletion by age on a clock that may be wrong: never much at once without a person's word."""

import pytest

from service.catalog.erasure_records import SweepLimits
from service.catalog.filter_records import ScanFilter
from service.catalog.records import PolicyPatch
from tests.catalog.set_clock import SetClock

CONFIRMED = SweepLimits(is_confirmed=True)
EVERYTHING = ScanFilter()


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def ward(catalog, ours, new_scan):
    """Twenty scans that are kept for thirty days, stored now."""
    catalog.create_collection(ours, "ward", encoder_id="enc_1", dim=8, retention_days=30)
    scans = [new_scan(n, scan_id=f"s{n}") for n in range(20)]
    catalog.add_scans(ours, "ward", scans, encoder_id="enc_1")
    return "ward"


def sweep(catalog, clock, limits=SweepLimits()):  # noqa: B008 - it is frozen
    """The number of scans that a whole sweep deletes."""
    deleted = 0
    while receipts := catalog.expire(limits=limits, clock=clock):
        deleted += sum(len(receipt.scans) for _, receipt in receipts)
    return deleted


def held(catalog, ours, name="ward"):
    return catalog.get_collection(ours, name).retention_held


def test_a_clock_that_jumps_ahead_deletes_nothing_and_says_how_many_are_due(
    catalog, ours, ward, clock
):
    sweep(catalog, clock)
    clock.run(hours=1)
    clock.jump(days=365)
    for _ in range(3):  # not a share of them at each sweep, either
        assert sweep(catalog, clock) == 0
        assert held(catalog, ours) == 20
        clock.run(hours=1)
    clock.jump(days=-365)
    assert sweep(catalog, clock) == 0
    assert held(catalog, ours) == 0


def test_a_machine_that_starts_with_a_wrong_clock_deletes_nothing(catalog, ours, ward, clock):
    sweep(catalog, clock)
    clock.restart(days=4000)
    assert sweep(catalog, clock) == 0
    clock.run(hours=1)
    assert sweep(catalog, clock) == 0
    assert held(catalog, ours) == 20


def test_the_first_sweep_of_a_catalog_has_no_clock_to_believe(catalog, ours, ward, clock):
    clock.run(days=31)
    assert sweep(catalog, clock) == 0
    assert held(catalog, ours) == 20


def test_scans_that_come_of_age_while_the_machine_runs_all_go(catalog, ours, ward, clock):
    sweep(catalog, clock)
    for _ in range(29):
        clock.run(days=1)
        assert sweep(catalog, clock) == 0
    clock.run(days=2)
    assert sweep(catalog, clock) == 20
    assert held(catalog, ours) == 0


def test_a_clock_that_is_set_right_by_a_little_did_not_jump(catalog, ours, ward, clock):
    sweep(catalog, clock)
    clock.run(days=31)
    clock.jump(minutes=-4)
    assert sweep(catalog, clock) == 20


def test_a_few_scans_and_a_small_share_may_go_on_any_clock(catalog, ours, ward, clock, new_scan):
    catalog.create_collection(ours, "few", encoder_id="enc_1", dim=8, retention_days=30)
    scans = [new_scan(n, scan_id=f"f{n}") for n in range(5)]
    catalog.add_scans(ours, "few", scans, encoder_id="enc_1")
    sweep(catalog, clock)
    clock.restart(days=31)
    assert sweep(catalog, clock) == 5
    assert sweep(catalog, clock, SweepLimits(max_share=1.0)) == 20


def test_a_new_retention_of_an_old_collection_waits_for_a_word(catalog, ours, ward, clock):
    off = PolicyPatch(set_fields=frozenset({"retention_days"}))
    catalog.patch_collection(ours, "ward", off)
    sweep(catalog, clock)
    clock.run(days=300)
    sweep(catalog, clock)
    short = PolicyPatch(retention_days=3, set_fields=frozenset({"retention_days"}))
    catalog.patch_collection(ours, "ward", short)
    assert sweep(catalog, clock) == 0
    assert held(catalog, ours) == 20
    catalog.patch_collection(ours, "ward", off)
    assert held(catalog, ours) == 0


class InterruptedClock(SetClock):
    """When a sweep asks for the time, it knows the collections and has deleted nothing yet."""

    interruption = None

    def now(self):
        if self.interruption is not None:
            run, self.interruption = self.interruption, None
            run()
        return super().now()


def test_a_sweep_goes_by_the_retention_of_the_moment_when_it_deletes(
    catalog, ours, ward, new_scan, opened
):
    clock = InterruptedClock()
    for letter, name in (("o", "off"), ("l", "longer"), ("g", "gone")):
        catalog.create_collection(ours, name, encoder_id="enc_1", dim=8, retention_days=30)
        scans = [new_scan(n, scan_id=f"{letter}{n}") for n in range(20)]
        catalog.add_scans(ours, name, scans, encoder_id="enc_1")
    sweep(catalog, clock)
    clock.run(days=31)
    another = opened()

    def change():
        days = frozenset({"retention_days"})
        another.patch_collection(ours, "off", PolicyPatch(set_fields=days))
        another.patch_collection(ours, "longer", PolicyPatch("", False, 365.0, days))
        another.delete_collection(ours, "gone")

    clock.interruption = change
    assert sweep(catalog, clock) == 20
    assert clock.interruption is None
    assert [catalog.get_collection(ours, name).scans for name in ("off", "longer")] == [20, 20]
    assert catalog.get_collection(ours, ward).scans == 0


def test_a_confirmed_deletion_goes_by_the_retention_of_the_moment_when_it_deletes(
    catalog, ours, ward, opened
):
    clock = InterruptedClock()
    clock.run(days=31)
    off = PolicyPatch(set_fields=frozenset({"retention_days"}))
    another = opened()
    clock.interruption = lambda: another.patch_collection(ours, ward, off)
    assert catalog.expire_collection(ours, ward, clock=clock) is None
    assert catalog.get_collection(ours, ward).scans == 20


def test_a_person_confirms_one_collection_or_the_clock(catalog, ours, ward, clock, new_scan):
    catalog.create_collection(ours, "other", encoder_id="enc_1", dim=8, retention_days=30)
    scans = [new_scan(n, scan_id=f"o{n}") for n in range(20)]
    catalog.add_scans(ours, "other", scans, encoder_id="enc_1")
    sweep(catalog, clock)
    clock.restart(days=60)
    assert sweep(catalog, clock) == 0
    assert len(catalog.expire_collection(ours, "ward", clock=clock).scans) == 20
    assert catalog.expire_collection(ours, "ward", clock=clock) is None
    assert (held(catalog, ours), held(catalog, ours, "other")) == (0, 20)
    assert sweep(catalog, clock, CONFIRMED) == 20
    add_later = [new_scan(n, scan_id=f"l{n}") for n in range(20)]
    catalog.add_scans(ours, "ward", add_later, encoder_id="enc_1")
    assert held(catalog, ours, "other") == 0


def test_a_clock_that_goes_back_extends_no_retention(catalog, ours, ward, clock):
    sweep(catalog, clock)
    clock.run(days=29)
    sweep(catalog, clock)
    clock.jump(days=-500)
    assert sweep(catalog, clock) == 0
    clock.run(days=2)
    assert sweep(catalog, clock) == 20


def test_scans_that_were_stored_on_a_clock_ahead_begin_to_age_when_it_is_right(
    catalog, ours, ward, clock, edit
):
    edit("UPDATE scans SET created_at = '2199-01-01T00:00:00.000000Z'")
    sweep(catalog, clock)
    clock.run(days=31)
    assert sweep(catalog, clock) == 20


def test_the_calendar_may_end_before_the_retention_does(catalog, ours, clock, new_scan):
    catalog.create_collection(ours, "long", encoder_id="enc_1", dim=8, retention_days=100_000)
    catalog.add_scans(ours, "long", [new_scan(1)], encoder_id="enc_1")
    clock.jump(days=-700_000)
    assert sweep(catalog, clock) == 0
