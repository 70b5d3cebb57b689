# SPDX-License-Identifier: Apache-2.0
"""A real iSCSI initiator in user space: libiscsi, called directly so that sessions stay open."""

import ctypes
import ctypes.util
from collections.abc import Callable
from types import TracebackType

_UNITS_CHANGED = '(0x3f0e)'
BLOCK = 512
_library = ctypes.CDLL('libiscsi.so.7')
_NORMAL_SESSION, _HEADER_DIGEST_NONE = 2, 0


class _Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]


def _declare(name: str, result: object, *arguments: object) -> None:
    function = getattr(_library, name)
    function.restype = result
    function.argtypes = arguments


_context = ctypes.c_void_p
_declare('iscsi_create_context', _context, ctypes.c_char_p)
_declare('iscsi_destroy_context', ctypes.c_int, _context)
_declare('iscsi_set_session_type', ctypes.c_int, _context, ctypes.c_int)
_declare('iscsi_set_header_digest', ctypes.c_int, _context, ctypes.c_int)
_declare('iscsi_set_alias', ctypes.c_int, _context, ctypes.c_char_p)
_declare('iscsi_set_targetname', ctypes.c_int, _context, ctypes.c_char_p)
_declare('iscsi_set_isid_random', ctypes.c_int, _context, ctypes.c_uint32, ctypes.c_uint32)
_declare('iscsi_set_timeout', ctypes.c_int, _context, ctypes.c_int)
_declare('iscsi_set_noautoreconnect', None, _context, ctypes.c_int)
_declare('iscsi_set_initiator_username_pwd', ctypes.c_int, _context, ctypes.c_char_p, ctypes.c_char_p)
_declare('iscsi_full_connect_sync', ctypes.c_int, _context, ctypes.c_char_p, ctypes.c_int)
_declare('iscsi_logout_sync', ctypes.c_int, _context)
_declare('iscsi_get_error', ctypes.c_char_p, _context)
_declare('scsi_free_scsi_task', None, ctypes.c_void_p)
_RW = (_context, ctypes.c_int, ctypes.c_uint64)
_FLAGS = (ctypes.c_int,) * 5
_VECTORS = (ctypes.POINTER(_Vector), ctypes.c_int)
_declare('iscsi_read16_iov_sync', ctypes.c_void_p, *_RW, ctypes.c_uint32, ctypes.c_int, *_FLAGS, *_VECTORS)
_declare('iscsi_write16_sync', ctypes.c_void_p, *_RW, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int, *_FLAGS)


_declare('iscsi_scsi_command_sync', ctypes.c_void_p, _context, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_declare('scsi_create_task', ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)
_declare('scsi_task_set_iov_in', None, ctypes.c_void_p, *_VECTORS)
_declare('scsi_task_set_iov_out', None, ctypes.c_void_p, *_VECTORS)
_XFER_READ, _XFER_WRITE = 1, 2

# service actions of PERSISTENT RESERVE OUT (SPC-4 section 6.16.2)
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE = range(7)


class LoginRefused(Exception):
    pass


class IoFailed(Exception):
    pass


class NewSession(Exception):
    """A unit attention: the initiator has logged in again."""


class NewUnits(Exception):
    """A unit attention: a unit has come, or has another number, which need not be this one."""


class Session:
    """One login to one target; by itself it comes back only if asked to, as every kernel's initiator does."""

    def __init__(
        self,
        portal: str,
        iqn: str,
        initiator: str,
        user: str = '',
        secret: str = '',
        timeout: int = 10,
        *,
        comes_back: bool = False,
        alias: str = '',
        isid: int | None = None,
        lun: int = 1,
    ) -> None:
        self._lun = lun
        #: how often it has logged in again, as far as commands have noticed
        self.returns = 0
        self._context = _library.iscsi_create_context(initiator.encode())
        assert self._context
        self._comes_back = comes_back
        _library.iscsi_set_noautoreconnect(self._context, int(not comes_back))
        _library.iscsi_set_timeout(self._context, timeout)
        _library.iscsi_set_session_type(self._context, _NORMAL_SESSION)
        _library.iscsi_set_header_digest(self._context, _HEADER_DIGEST_NONE)
        _library.iscsi_set_targetname(self._context, iqn.encode())
        if isid is not None:
            _library.iscsi_set_isid_random(self._context, isid, 0)
        if alias:
            _library.iscsi_set_alias(self._context, alias.encode())
        if user:
            _library.iscsi_set_initiator_username_pwd(self._context, user.encode(), secret.encode())
        if _library.iscsi_full_connect_sync(self._context, portal.encode(), lun) != 0:
            error = self._error()
            self._destroy()
            raise LoginRefused(error)

    def _error(self) -> str:
        return (_library.iscsi_get_error(self._context) or b'').decode('utf-8', 'replace')

    def _finish(self, task: int | None) -> None:
        if not task:
            raise IoFailed(self._error())
        status = ctypes.cast(task, ctypes.POINTER(ctypes.c_int))[0]
        _library.scsi_free_scsi_task(task)
        if status != 0:
            error = self._error()
            kind: type[Exception] = NewSession if self._comes_back and 'BUS_RESET' in error else IoFailed
            if _UNITS_CHANGED in error:  # every kernel's initiator repeats the command
                kind = NewUnits
            raise kind(f'status {status:#x}: {error}')

    def _retry(self, act: Callable[[], int | None]) -> None:
        """Carry a command out; the first one of a new session is answered with its news."""
        while True:
            try:
                return self._finish(act())
            except NewSession:
                self.returns += 1
            except NewUnits:
                continue

    def read(self, block: int, count: int = 1) -> bytes:
        buffer = ctypes.create_string_buffer(count * BLOCK)
        vector = _Vector(ctypes.addressof(buffer), count * BLOCK)
        self._retry(
            lambda: _library.iscsi_read16_iov_sync(
                self._context, self._lun, block, count * BLOCK, BLOCK, 0, 0, 0, 0, 0, ctypes.byref(vector), 1
            )
        )
        return buffer.raw

    def write(self, block: int, data: bytes) -> None:
        self._retry(
            lambda: _library.iscsi_write16_sync(self._context, self._lun, block, data, len(data), BLOCK, 0, 0, 0, 0, 0)
        )

    def mode_page(self, code: int) -> bytes:
        """MODE SENSE(10), without block descriptors: the page with its two header bytes."""
        data = self._ask(bytes([0x5A, 0x08, code, 0, 0, 0, 0, 0, 252, 0]))
        return data[8 + int.from_bytes(data[6:8]) :]

    def vital_page(self, code: int) -> bytes:
        """INQUIRY with EVPD: the page without its header of four bytes."""
        data = self._ask(bytes([0x12, 1, code, 0, 252, 0]))
        return data[4 : 4 + int.from_bytes(data[2:4])]

    def capacity(self) -> int:
        """READ CAPACITY(16), as bytes."""
        data = self._ask(bytes([0x9E, 0x10, *bytes(11), 252, 0, 0]))
        return (int.from_bytes(data[:8]) + 1) * int.from_bytes(data[8:12])

    def _ask(self, command: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(252)
        vector = _Vector(ctypes.addressof(buffer), len(buffer))

        def ask() -> int | None:
            task = _library.scsi_create_task(len(command), command, _XFER_READ, len(buffer))
            _library.scsi_task_set_iov_in(task, ctypes.byref(vector), 1)
            found: int | None = _library.iscsi_scsi_command_sync(self._context, self._lun, task, None)
            return found

        self._retry(ask)
        return buffer.raw

    def reserve_out(self, action: int, key: int, new_key: int = 0, kind: int = 0, *, aptpl: bool = False) -> None:
        """PERSISTENT RESERVE OUT with a parameter list of 24 bytes."""
        data = key.to_bytes(8) + new_key.to_bytes(8) + bytes([0, 0, 0, 0, int(aptpl), 0, 0, 0])
        command = bytes([0x5F, action, kind, 0, 0, 0, 0, 0, len(data), 0])
        buffer = ctypes.create_string_buffer(data, len(data))
        vector = _Vector(ctypes.addressof(buffer), len(buffer))

        def ask() -> int | None:
            task = _library.scsi_create_task(len(command), command, _XFER_WRITE, len(data))
            _library.scsi_task_set_iov_out(task, ctypes.byref(vector), 1)
            found: int | None = _library.iscsi_scsi_command_sync(self._context, self._lun, task, None)
            return found

        self._retry(ask)

    def reserve_in(self, action: int) -> bytes:
        """PERSISTENT RESERVE IN: keys (0), the reservation (1), capabilities (2), full status (3)."""
        return self._ask(bytes([0x5E, action, 0, 0, 0, 0, 0, 0, 252, 0]))

    def close(self) -> None:
        if self._context:
            _library.iscsi_logout_sync(self._context)
            self._destroy()

    def _destroy(self) -> None:
        _library.iscsi_destroy_context(self._context)
        self._context = None

    def __enter__(self) -> 'Session':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
