"""A seccomp filter: system calls that a decoder never needs fail.

Refused are sockets, programs and processes, writing to the file system, other processes, settings
of the system, and every call that is newer than this list. It is a list of what is refused and not
of what is allowed, because decoders, Python and the C library use other calls in each version.

The numbers are those of the kernel (``asm/unistd.h``); seccomp(2) describes the program.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

_CALLS: dict[str, tuple[int | None, int | None]] = {  # x86-64, arm64
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "bind": (49, 200),
    "listen": (50, 201),
    "socketpair": (53, 199),
    "accept4": (288, 242),
    "mq_open": (240, 180),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "creat": (85, None),
    "open_by_handle_at": (304, 265),
    "truncate": (76, 45),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "link": (86, None),
    "linkat": (265, 37),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "utimensat": (280, 88),
    "futimesat": (261, None),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "personality": (135, 92),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "capset": (126, 91),
}
# Calls whose arguments decide, and the number of the argument that holds flags or a process.
_OPEN, _OPENAT = (2, None), (257, 56)
_CLONE, _CLONE3 = (56, 220), 435
_PRLIMIT64, _TGKILL = (302, 261), (234, 131)
# From here on the architectures share their numbers; glibc does without a call that is missing.
_FIRST_NEW = 424
_ALLOWED_NEW = (436, 439, 441, 449, 454, 455, 456)  # close_range, faccessat2, epoll, futexes

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data
_SECCOMP_CALL = (317, 277)
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


def refuse_system_calls() -> bool:
    """Filter the calls of this process for ever; return whether the kernel does so."""
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in _ARCHITECTURES:
        return False
    column, _ = _ARCHITECTURES[machine]
    program = _program(machine)
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, padded, and their address.
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP_CALL[column]
    return bool(libc.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, header) == 0)


def _program(machine: str) -> bytes:
    """Instructions of eight bytes (struct sock_filter): code, jumps if true and false, value."""
    column, architecture = _ARCHITECTURES[machine]
    refuse, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, refuse)]
    lines += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, refuse)]
    for numbers in _CALLS.values():
        number = numbers[column]
        if number is not None:
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    for number in _ALLOWED_NEW:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_AT_LEAST, 0, 1, _FIRST_NEW), (_RETURN, 0, 0, absent)]
    for numbers, argument, test, value, is_refused in (
        (_OPEN, 1, _ANY_BIT, _WRITES, True),
        (_OPENAT, 2, _ANY_BIT, _WRITES, True),
        (_CLONE, 0, _ANY_BIT, _CLONE_THREAD, False),
        (_PRLIMIT64, 0, _EQUAL, 0, False),  # only this process
        (_TGKILL, 0, _EQUAL, os.getpid(), False),  # as abort() does
    ):
        number = numbers[column]
        if number is not None:
            lines += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
                (test, 0, 1, value),
                (_RETURN, 0, 0, refuse if is_refused else _ALLOW),
                (_RETURN, 0, 0, _ALLOW if is_refused else refuse),
            ]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
