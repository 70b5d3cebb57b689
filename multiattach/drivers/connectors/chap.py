# SPDX-License-Identifier: Apache-2.0
"""Which digests the kernel's initiator offers for CHAP, and whether tgtd takes one of them.

tgtd 1.0.85 knows MD5 (5) and takes number 7, which is SHA-256, for its own SHA-1: it chooses the first of
those two in the order of the offer, and an answer made with SHA-256 is then wrong in its eyes.
"""

import re
from pathlib import Path

ISCSID_CONF = '/etc/iscsi/iscsid.conf'
FIPS_ENABLED = '/proc/sys/crypto/fips_enabled'
OPTION = 'node.session.auth.chap_algs'
#: numbers of the digests, by open-iscsi's names for them
DIGESTS = {'MD5': '5', 'SHA1': '6', 'SHA256': '7', 'SHA3-256': '8'}
_DEFAULT = ('MD5',)  # of open-iscsi, where the file says nothing
_LINE = re.compile(rf'^{re.escape(OPTION)}[ \t]*=[ \t]*(.*)$', re.MULTILINE)


def parse_digests(text: str) -> tuple[str, ...]:
    """Return the digests that a text of ``iscsid.conf`` offers, in the order of the offer."""
    found = _LINE.findall(text)
    if not found:
        return _DEFAULT
    return tuple(word for word in re.split(r'[\s,]+', found[-1].upper()) if word)  # the last line counts


def is_taken(digests: tuple[str, ...]) -> bool:
    """Tell whether tgtd can check an answer to such an offer."""
    chosen = [name for name in digests if name in ('MD5', 'SHA256')]
    return chosen[:1] == ['MD5']


def find_obstacle() -> str | None:
    """Tell why a tgtd would refuse every login of this host.

    :returns: the reason and what to do; None if nothing speaks against it, or the host does not tell.
    """
    if _read(FIPS_ENABLED).strip() == '1':
        return (
            f'This host is in FIPS mode ({FIPS_ENABLED} is 1), which forbids MD5, the only CHAP digest that '
            'tgtd can check: this host cannot log in to volumes that tgtd exports. Run servers that need '
            'such volumes on a host without FIPS mode, or set connector = qemu in [host_agent]: libiscsi has an MD5 of '
            'its own, unless it was built with libgcrypt.'
        )
    digests = parse_digests(_read(ISCSID_CONF))
    if is_taken(digests):
        return None
    return (
        f'{ISCSID_CONF} has "{OPTION} = {",".join(digests)}", and tgtd can check none but MD5: it refuses '
        f'every login of this host. Set "{OPTION} = MD5" there; the next login uses it.'
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors='replace')
    except OSError:
        return ''
