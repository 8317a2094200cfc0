"""How many files, connections among them, this process may have open."""

import sys


def allow_files(count: int) -> bool:
    """Raise this process's own limit to ``count`` if it is lower; return whether that suffices.

    Systems without such a limit always suffice.
    """
    if sys.platform == "win32":
        return True
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return True
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most >= count
