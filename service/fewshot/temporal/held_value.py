"""An answer that does not flicker: it changes only when something else has stood for a while."""

from typing import Generic, TypeVar

Value = TypeVar("Value")


class HeldValue(Generic[Value]):
    """Holds a value against short changes of what is offered; None is no value.

    Args:
        enter_s: how long a value is offered without a break until it is held.
        leave_s: how long nothing is offered until the held value goes.
    """

    def __init__(self, enter_s: float, leave_s: float) -> None:
        self._enter_s = enter_s
        self._leave_s = leave_s
        self.reset()

    def reset(self) -> None:
        """Hold nothing."""
        self.value: Value | None = None
        self.since_s: float | None = None  # when the held value was offered first
        self._offered: Value | None = None
        self._offered_s: float | None = None

    @property
    def is_entering(self) -> bool:
        """Whether a value is offered that is not held yet."""
        return self._offered is not None and self._offered != self.value

    def offer(self, value: Value | None, time_s: float) -> Value | None:
        """What is held after ``value`` is offered at a time, which never falls."""
        if self._offered_s is None or value != self._offered:
            self._offered, self._offered_s = value, time_s
        waited_s = time_s - self._offered_s
        if value != self.value and waited_s >= (self._leave_s if value is None else self._enter_s):
            self.value = value
            self.since_s = None if value is None else self._offered_s
        return self.value
