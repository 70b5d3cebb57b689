# SPDX-License-Identifier: Apache-2.0
"""Where the accounts of one thing differ: the database, targets, hosts, domains and Nova.

One table says of each kind of drift what is seen, what it means and what is done. The reconcilers,
the configuration, ``doctor``, the documentation and the tests read it; nothing else knows a kind.
"""

import dataclasses
import enum
from collections.abc import Mapping


class Account(enum.StrEnum):
    """Who shows what is not as recorded."""

    DATABASE = 'database'
    TARGET = 'target'
    HOST = 'host'
    DOMAIN = 'domain'
    NOVA = 'Nova'
    CEPH = 'Ceph'
    STORAGE = 'storage'


class Action(enum.StrEnum):
    """What is done about a kind of drift."""

    REPAIR = 'repair'
    REPORT = 'report'
    IGNORE = 'ignore'


class Drift(enum.StrEnum):
    """Kinds of drift."""

    NO_TARGET = 'no_target'
    NO_VOLUME = 'no_volume'
    LEFTOVER = 'leftover'
    UNUSED = 'unused'
    NO_LUN = 'no_lun'
    SHUT = 'shut'
    SHUT_OUT = 'shut_out'
    ADMITTED = 'admitted'
    NO_ACCOUNT = 'no_account'
    ACCOUNT = 'account'
    SESSION = 'session'
    STRAY_REGISTRATION = 'stray_registration'
    SHARED_LOGIN = 'shared_login'
    OLD_PORTAL = 'old_portal'
    STRAY_FILE = 'stray_file'
    NO_FILE = 'no_file'
    STATUS = 'status'
    OLD_DATABASE = 'old_database'
    RESERVATION = 'reservation'
    RESERVATION_OF_SERVER = 'reservation_of_server'
    STUCK_STEP = 'stuck_step'
    RESERVE_MARK = 'reserve_mark'
    DETACH_MARK = 'detach_mark'
    NO_CONNECTOR = 'no_connector'
    SHARED_NAME = 'shared_name'
    SERVER_GONE = 'server_gone'
    SERVER_UNKNOWN = 'server_unknown'
    DOMAIN_GONE = 'domain_gone'
    DOMAIN_MOVED = 'domain_moved'
    STRAY_DISK = 'stray_disk'
    LOST_DISK = 'lost_disk'
    LATE_UNPLUG = 'late_unplug'
    UNSAVED_DISK = 'unsaved_disk'
    LOST_SECRET = 'lost_secret'  # noqa: S105 - a kind of drift
    STRAY_SECRET = 'stray_secret'  # noqa: S105 - a kind of drift
    STRAY_SESSION = 'stray_session'
    LOST_SESSION = 'lost_session'
    NO_ENTRY = 'no_entry'
    STRAY_ENTRY = 'stray_entry'
    STRAY_WATCHER = 'stray_watcher'
    STRAY_SNAPSHOT = 'stray_snapshot'
    NO_SNAPSHOT = 'no_snapshot'
    STRAY_STORAGE = 'stray_storage'
    NO_STORAGE = 'no_storage'
    REMNANT = 'remnant'
    LOST_GATEWAY = 'lost_gateway'


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table.

    :param means: what that means, for people.
    :param action: what is done unless the operator decides otherwise.
    :param step: what a repair runs.
    :param grace: seconds that it must last before it is repaired without being asked.
    :param is_firm: a person who asks for the repair waits for the grace, too.
    """

    kind: Drift
    account: Account
    seen: str
    means: str
    action: Action
    step: str
    grace: float = 0.0
    is_firm: bool = False


_RESTORE = "The target is restored to what the rows say, under the volume's lock, as after a restart of its daemon."
_REMOVE = 'The target, its accounts and its file are removed, as when the last attachment is deleted.'
_DELETE = 'The attachment is deleted as by its user: its initiator is turned away, then its row is removed.'
_T, _D, _H, _M, _N = Account.TARGET, Account.DATABASE, Account.HOST, Account.DOMAIN, Account.NOVA
_C = Account.CEPH
_REPAIR, _REPORT = Action.REPAIR, Action.REPORT

TABLE: Mapping[Drift, Row] = {
    row.kind: row
    for row in (
        Row(
            Drift.NO_TARGET,
            _T,
            'an attachment that must be admitted, but no target',
            'Attachments need a target, but it does not exist. The volume worker restores it.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.NO_VOLUME,
            _T,
            'a target (or its file) of a volume that was never recorded, or was purged',
            'There is a target for a volume that is not recorded. Another service may be using the target daemon.',
            _REPORT,
            'Nothing: it may belong to someone else. If it does not, remove it with tgt-admin --delete.',
        ),
        Row(
            Drift.LEFTOVER,
            _T,
            'a target of a volume that is recorded as deleted',
            'There is a target for a volume that was deleted.',
            _REPAIR,
            _REMOVE,
        ),
        Row(
            Drift.UNUSED,
            _T,
            'a target, but no attachment that may be on it',
            'There is a target that no attachment needs.',
            _REPAIR,
            _REMOVE,
        ),
        Row(
            Drift.NO_LUN,
            _T,
            'a target that is needed, but has no logical unit that is online',
            'The target has no logical unit that serves I/O.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.SHUT,
            _T,
            'a target that is needed, but is offline: it accepts no login and drops commands',
            'A fence or an extend was interrupted while the target was offline; nobody can use the volume.',
            _REPAIR,
            _RESTORE + ' That brings it online.',
        ),
        Row(
            Drift.SHUT_OUT,
            _T,
            'an initiator that an attachment needs is not in the ACL',
            'An attachment needs this initiator to be admitted, but the target does not admit it.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.ADMITTED,
            _T,
            'an initiator in the ACL that no attachment names',
            'The target admits an initiator that no attachment names.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.NO_ACCOUNT,
            _T,
            'the CHAP account of an attachment is not bound',
            'The account of an attachment is not bound to the target.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.ACCOUNT,
            _T,
            'a bound CHAP account that no attachment names',
            'The target has an account that no attachment names.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.SESSION,
            _T,
            'a live login of an initiator that no attachment names',
            'An initiator that no attachment names is logged in.',
            _REPAIR,
            _RESTORE + ' That ends the login.',
        ),
        Row(
            Drift.STRAY_REGISTRATION,
            _T,
            'a SCSI-3 registration of an initiator that no attachment names, in force or kept for the next start',
            'An initiator that no attachment names is registered with persistent reservations: what it holds keeps '
            'servers off the volume.',
            _REPAIR,
            _RESTORE + ' That ends the registration, and what it holds.',
        ),
        Row(
            Drift.SHARED_LOGIN,
            _T,
            'live logins of one initiator name from several addresses at one target',
            'Several addresses are logged in under one initiator name: two hosts with the same name, or one host with '
            'several paths to the target. Hosts that share a name are fenced together.',
            _REPORT,
            'Nothing: compare /etc/iscsi/initiatorname.iscsi on the hosts with these addresses.',
        ),
        Row(
            Drift.OLD_PORTAL,
            _T,
            'a portal, target name or LUN in the connection_info of an attachment that its target no longer has',
            'The host was given an address that is no longer that of the target. A server that is logged in there '
            'stays so while the target daemon serves the old address, but a new login would fail.',
            _REPAIR,
            'The connection_info is given the current address and keeps its credentials. While the initiator is '
            'logged in this waits, so that its host can find the session that it has to end.',
        ),
        Row(
            Drift.STRAY_FILE,
            _T,
            'a file in volumes_dir for a volume of this backend that needs no target',
            'Because of a file, a restarted target daemon would export a volume that nobody uses.',
            _REPAIR,
            _REMOVE,
        ),
        Row(
            Drift.NO_FILE,
            _T,
            'no file in volumes_dir for a volume that needs a target',
            'After a restart of the target daemon alone, the volume would not be exported.',
            _REPAIR,
            _RESTORE,
        ),
        Row(
            Drift.STATUS,
            _D,
            "a volume's status is not the one that its attachments give",
            'The status of the volume disagrees with its attachments.',
            _REPAIR,
            'The status is derived from the attachments in one transaction, as after each change.',
        ),
        Row(
            Drift.OLD_DATABASE,
            _D,
            'the file beside the targets is ahead of the database, or belongs to another one',
            'The database is an older copy, or not the one of the targets. Nothing is repaired or exported again, '
            'and no earlier step is resumed, until an operator accepts it.',
            _REPORT,
            'Nothing: restore the newest database, or accept this one with multiattach-manage db accept BACKEND.',
        ),
        Row(
            Drift.RESERVATION,
            _D,
            'an attachment without server and connector, reserved longer than [reconcile] reservation_age',
            'A place was reserved without a server, and no host ever connected.',
            _REPAIR,
            _DELETE,
        ),
        Row(
            Drift.RESERVATION_OF_SERVER,
            _D,
            'the same, for a server that no host agent has',
            'A place was reserved for a server, and no host ever connected. Nova keeps such reservations for '
            'shelved servers.',
            _REPORT,
            _DELETE,
        ),
        Row(
            Drift.STUCK_STEP,
            _D,
            'a step in flight, of an attachment, a volume, a snapshot or a migration, that nobody is at, or that has '
            'not advanced, for [reconcile] stuck_after',
            'A step takes very long. Its owner retries it automatically.',
            _REPORT,
            'Nothing: the owner of the step continues, see the explanation of the attachment or the volume.',
        ),
        Row(
            Drift.RESERVE_MARK,
            _D,
            'a mark of os-reserve that was neither used nor taken back',
            'A client marked the volume with os-reserve and has not come back. While no server has the volume, '
            'its status is attaching.',
            _REPORT,
            'The mark is taken back, as by os-unreserve.',
            3600.0,
        ),
        Row(
            Drift.DETACH_MARK,
            _D,
            'a mark of os-begin_detaching that was neither used nor taken back',
            'A client marked the volume with os-begin_detaching and has not come back. While one server has the '
            'volume, its status is detaching.',
            _REPORT,
            'The mark is taken back, as by os-roll_detaching.',
            3600.0,
        ),
        Row(
            Drift.NO_CONNECTOR,
            _D,
            'an attached volume that never had a connector, of a server that is on a host',
            'The attachment says that the server has the volume, but no host was ever admitted for it. That is '
            'correct only for shelved servers.',
            _REPORT,
            'Nothing: attach the volume again, or have its client give the attachment a connector.',
            300.0,
        ),
        Row(
            Drift.SHARED_NAME,
            _D,
            'live attachments, of any volumes, with one initiator name and several hosts',
            'Two hosts present the same initiator name: the targets cannot tell them apart, a fence of one cuts off '
            'both, and a detach of one may cut off the other. The usual cause is a cloned '
            '/etc/iscsi/initiatorname.iscsi; another is a renamed host.',
            _REPORT,
            'Nothing: give each host its own name (iscsi-iname) and attach again.',
        ),
        Row(
            Drift.SERVER_GONE,
            _N,
            'a server that Nova had, or says it deleted, and for which it returns 404',
            'The server is gone, but its attachment remains.',
            _REPAIR,
            _DELETE + ' The server and its host are not contacted.',
            300.0,
            is_firm=True,
        ),
        Row(
            Drift.SERVER_UNKNOWN,
            _N,
            'a server that Nova never knew, as far as this worker can tell',
            "Nova does not know the server. It may not be one of Nova's (bare metal, or a client's own id).",
            _REPORT,
            _DELETE,
            300.0,
            is_firm=True,
        ),
        Row(
            Drift.DOMAIN_GONE,
            _M,
            'a server of a host agent whose domain is undefined and is on no other host',
            'The server is gone, but its attachment remains.',
            _REPAIR,
            'The attachment is detached as by its user; the server is not contacted.',
            30.0,
        ),
        Row(
            Drift.DOMAIN_MOVED,
            _M,
            'a server that another host agent has now',
            'The server was moved to another host manually, but its attachment still belongs to the agent of the '
            'first host. Detach the volume and attach it again.',
            _REPORT,
            'Nothing: it may be in use there.',
        ),
        Row(
            Drift.STRAY_DISK,
            _M,
            'a disk with the serial number and alias of a recorded volume in a domain without an attachment',
            'A server has a disk of a volume that is not attached to it.',
            _REPAIR,
            'The disk is unplugged and the host disconnects, as in a detach.',
            60.0,
        ),
        Row(
            Drift.LOST_DISK,
            _M,
            'an attached volume that the running domain, or all its XML, lacks',
            'The attachment says that the server has the volume, but it does not. Someone may have removed it on '
            'purpose: detach it, or attach it again.',
            _REPORT,
            'The disk is plugged in again, as in an attach.',
            60.0,
        ),
        Row(
            Drift.LATE_UNPLUG,
            _M,
            'the same, after a detach that the guest had refused',
            'The guest released the device after the detach had been given up.',
            _REPAIR,
            'The detach is resumed.',
            30.0,
        ),
        Row(
            Drift.UNSAVED_DISK,
            _M,
            'an attached volume that the domain has now, but not in its persistent XML',
            'The server would lose the volume at its next start.',
            _REPAIR,
            'The attach runs again and adds what is missing.',
            30.0,
        ),
        Row(
            Drift.LOST_SECRET,
            _M,
            'a disk that QEMU reaches by itself, whose secret (CHAP, or a key of Ceph) libvirt does not have',
            'libvirtd was restarted and lost a secret, so the server could not start again.',
            _REPAIR,
            'The secret is set again, as in an attach.',
        ),
        Row(
            Drift.STRAY_SECRET,
            _M,
            'a secret of an attachment in libvirt, but no such attachment on this host and no disk that names it',
            'A step ended between libvirt and the database: libvirt keeps a key or password that nothing needs.',
            _REPAIR,
            'The secret is removed.',
            60.0,
        ),
        Row(
            Drift.STRAY_SESSION,
            _H,
            'a session of this host to a recorded volume without an attachment here',
            'The host is logged in to a volume that none of its servers has.',
            _REPAIR,
            'The host disconnects, as in a detach.',
            60.0,
        ),
        Row(
            Drift.LOST_SESSION,
            _H,
            'an attached volume that a domain has, but no session of this host to it',
            'The host was restarted, or someone logged out, so the server could not start.',
            _REPAIR,
            'The host connects, as in an attach.',
        ),
        Row(
            Drift.NO_ENTRY,
            _C,
            'an instance that was cut off and must stay so, but is not in the blocklist of Ceph',
            'The entry was removed by somebody else, or it ended. If the instance still runs, it can read and write '
            'again.',
            _REPAIR,
            'The entry is made again, and every placement group of the pool is waited for.',
        ),
        Row(
            Drift.STRAY_ENTRY,
            _C,
            'an entry of the blocklist of Ceph that this service noted in the pool and has no row for',
            'It is not recorded why an instance is cut off: the database is an older copy, or another service with '
            'this pool made the entry. It ends by itself.',
            _REPORT,
            'Nothing: when the instance does not run any more, remove the entry with "ceph osd blocklist rm".',
        ),
        Row(
            Drift.STRAY_WATCHER,
            _C,
            'a client of Ceph that has the image of a volume open, which no attachment explains',
            'A client has the volume open without an attachment: a host that did not let go of it, a backup, or '
            'somebody with "rbd map".',
            _REPORT,
            'Nothing: end that client, or cut it off with "ceph osd blocklist add" and the address with its nonce.',
        ),
        Row(
            Drift.STRAY_SNAPSHOT,
            Account.STORAGE,
            'a snapshot that the storage has under a name of this service, and no row',
            'The storage keeps a snapshot that is not recorded: it was unmanaged, the database is an older copy, an '
            'order was carried out after it was given up, or another service uses the storage. Its volume may not be '
            'deleted with it.',
            _REPORT,
            'Nothing: it may belong to someone else. If it does not, manage it (POST /manageable_snapshots), or '
            'remove it from the storage (rm, lvremove or "rbd snap rm").',
        ),
        Row(
            Drift.NO_SNAPSHOT,
            Account.STORAGE,
            'a snapshot that is recorded as available, and that the storage does not have',
            'Somebody has removed a snapshot from the storage. No volume can be made from it, and none reverted to it.',
            _REPORT,
            'Nothing: its data is gone. Delete the snapshot.',
        ),
        Row(
            Drift.STRAY_STORAGE,
            Account.STORAGE,
            'storage under the name of a volume, but no such volume on this backend',
            'The storage keeps something that has the name of a volume and is none here: the volume was unmanaged, the '
            'database is an older copy, or another service, such as Cinder, uses the storage. Of a volume that is on '
            'another backend it is what the volume once was. A draft, or trash, of a volume that has nothing under its '
            'own name may be its only copy.',
            _REPORT,
            'Nothing: it may be the only copy of something. If nobody needs it, remove it from the storage (rm, '
            'lvremove or "rbd rm"); if somebody does, manage it (POST /manageable_volumes).',
        ),
        Row(
            Drift.NO_STORAGE,
            Account.STORAGE,
            'a volume that must have storage, and nothing under its name',
            'Somebody has removed or renamed the storage of a volume. Servers that have it open may go on with what '
            'was removed, until they let go of it: copy its data from such a server first.',
            _REPORT,
            'Nothing: give the storage its name (volume-UUID) back, or restore it from a copy. If it is lost, delete '
            'the volume.',
        ),
        Row(
            Drift.REMNANT,
            Account.STORAGE,
            'a draft, or trash, of a volume or snapshot that is recorded, and no step on it',
            'Half a copy, or what was to be removed, takes room in the storage, and nobody goes on with it: a step '
            'ended without its row, by an older copy of the database or by hand.',
            _REPAIR,
            'What is left is removed, as when a copy is broken off; it is zeroed first where deleted volumes are.',
            600.0,
        ),
        Row(
            Drift.LOST_GATEWAY,
            _D,
            'a gateway of the backend that is shut out of Ceph, or is being shut out',
            'One of the gateways of the backend is gone: hosts with several paths have one less, and those with one '
            'path were redirected or wait.',
            _REPORT,
            'Nothing: start its worker, which begins anew by itself. If it is never to come back, forget it with '
            'multiattach-manage service remove multiattach-volume NAME.',
        ),
    )
}
TARGET_KINDS = tuple(kind for kind, row in TABLE.items() if row.account is Account.TARGET)
# Their repairs take something away that somebody may use: they go through the breaker.
DESTRUCTIVE = frozenset(
    {
        Drift.NO_VOLUME,
        Drift.LEFTOVER,
        Drift.UNUSED,
        Drift.ADMITTED,
        Drift.ACCOUNT,
        Drift.SESSION,
        Drift.STRAY_REGISTRATION,
        Drift.STRAY_FILE,
        Drift.RESERVATION,
        Drift.RESERVATION_OF_SERVER,
        Drift.RESERVE_MARK,
        Drift.DETACH_MARK,
        Drift.SERVER_GONE,
        Drift.SERVER_UNKNOWN,
        Drift.DOMAIN_GONE,
        Drift.STRAY_DISK,
        Drift.LATE_UNPLUG,
        Drift.STRAY_SESSION,
        Drift.STRAY_SECRET,
        Drift.REMNANT,
    }
)
