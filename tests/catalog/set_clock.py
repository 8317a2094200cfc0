"""A machine whose clock can be set, and whose time since its start cannot."""

from datetime import UTC, datetime, timedelta


class SetClock:
    def __init__(self) -> None:
        self.present = datetime.now(UTC)
        self.boot, self.boot_s = "boot-1", 100.0

    def now(self) -> datetime:
        return self.present

    def since_boot(self) -> tuple[str, float]:
        return self.boot, self.boot_s

    def run(self, **spent: float) -> None:
        """Let time pass."""
        self.present += timedelta(**spent)
        self.boot_s += timedelta(**spent).total_seconds()

    def jump(self, **spent: float) -> None:
        """Set the clock, ahead or back."""
        self.present += timedelta(**spent)

    def restart(self, **off: float) -> None:
        """Switch the machine off and on."""
        self.present += timedelta(**off)
        self.boot, self.boot_s = f"{self.boot}+", 1.0
