"""The picture of the house in README shows every arrow that the imports draw, and no other."""

import re

from tests.house.source_tree import CLIENT_FILES, FILES, ROOT, imports_of_ours, module_of

# What every room may know is not drawn.
GROUND = {"service.errors", "service.settings", "service.arrays", "service.observability"}
ARROW = "─►"


def room_of(name: str) -> str | None:
    """``api`` of ``service.api.routes.scan_routes``; None for the ground."""
    parts = name.split(".")
    if parts[0] in ("training", "sonoprobe_client"):
        return parts[0]
    if len(parts) == 1 or parts[1].startswith("__") or ".".join(parts[:2]) in GROUND:
        return None
    return parts[1]


def drawn_arrows() -> set[tuple[str, str]]:
    text = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- house:begin -->\n(.*?)<!-- house:end -->", text, re.DOTALL)
    assert block, "README lacks the picture of the house"
    arrows = set()
    for line in block[1].splitlines():
        if ARROW in line:
            room, targets = line.split(ARROW)
            names = targets.split("   ")[0].split(",")  # behind them stands what the room is for
            arrows |= {(room.strip(), name.strip()) for name in names}
    return arrows


def imported_arrows() -> set[tuple[str, str]]:
    arrows = set()
    for file in [*FILES, *CLIENT_FILES]:
        source = room_of(module_of(file))
        targets = {room_of(name) for name in imports_of_ours(file)}
        arrows |= {(source, target) for target in targets if source and target and source != target}
    return arrows


def test_readme_draws_the_house_as_the_imports_do() -> None:
    assert drawn_arrows() == imported_arrows()


def test_arrows_never_lead_back() -> None:
    arrows = imported_arrows()
    reachable = dict.fromkeys({room for room, _ in arrows}, frozenset[str]())
    for _ in reachable:
        for room, target in arrows:
            reachable[room] |= {target} | reachable.get(target, frozenset())
    assert not [room for room, targets in reachable.items() if room in targets]
