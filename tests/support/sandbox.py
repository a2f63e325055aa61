"""Makes Linux kill this process as soon as any of its threads, native ones too, asks for an internet socket.

A hook in Python would not see what a compiled library does. The filter is classic BPF for seccomp(2).
"""

from __future__ import annotations

import ctypes
import platform
import socket
import struct
import sys

SOCKET = {"x86_64": 41, "aarch64": 198}  # the number of socket(2)
SUPPORTED = sys.platform == "linux" and platform.machine() in SOCKET
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
KILL, ALLOW = 0x80000000, 0x7FFF0000


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def forbid_internet() -> None:
    """From here on SIGSYS ends the process when it opens an IPv4 or IPv6 socket; it cannot be taken back."""
    steps = [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 4, SOCKET[platform.machine()]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 1, 0, socket.AF_INET),
        (EQUAL, 0, 1, socket.AF_INET6),
        (RETURN, 0, 0, KILL),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((NO_NEW_PRIVILEGES, 1, 0), (SECCOMP, FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments, 0, 0):
            raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")
