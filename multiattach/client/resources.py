# SPDX-License-Identifier: Apache-2.0
"""What this service's own API shows, as resources of openstacksdk."""

from openstack import resource

_PREFIX = '/multiattach'


class _Explanation(resource.Resource):
    """What an attachment and a volume have in common."""

    resource_key = 'explanation'
    requires_id = False
    allow_fetch = True

    #: Public status.
    status = resource.Body('status')
    #: When it took this state, UTC.
    since = resource.Body('since')
    #: Who takes the next step: user, volume worker, host agent, nobody.
    owner = resource.Body('owner')
    #: Host of that worker or agent; for admins.
    owner_name = resource.Body('owner_name')
    #: Whether that worker or agent reports.
    owner_is_up = resource.Body('owner_is_up', type=bool)
    #: What the state means.
    meaning = resource.Body('meaning')
    #: What will happen next.
    next = resource.Body('next')
    #: What a person can do.
    advice = resource.Body('advice')
    #: until, attempts, retry_at, error; None for a step that is quick so far.
    lease = resource.Body('lease', type=dict)
    #: What is true now: target, hosts, findings and unanswered; for admins, if it was asked for.
    live = resource.Body('live', type=dict)


class AttachmentExplanation(_Explanation):
    """The timeline of an attachment, and what comes next."""

    base_path = f'{_PREFIX}/attachments/%(attachment_id)s/explain'

    #: UUID of the attachment.
    attachment_id = resource.URI('attachment_id')
    volume_id = resource.Body('volume_id')
    server_id = resource.Body('server_id')
    #: Internal state, finer than the status.
    state = resource.Body('state')
    #: ``rw`` or ``ro``.
    mode = resource.Body('mode')
    #: Who keeps a server from writing that may only read: ``target``, or only ``host``.
    read_only_at = resource.Body('read_only_at')
    device = resource.Body('device')
    #: ``host agent``, or ``client`` such as Nova.
    driven_by = resource.Body('driven_by')
    #: Why the last step failed.
    error = resource.Body('error')
    #: For admins.
    host = resource.Body('host')
    #: For admins.
    initiator = resource.Body('initiator')
    #: Clients of Ceph that a fence keeps out, each with instance, until, state and needed (admin only).
    blocklist = resource.Body('blocklist', type=list)
    #: Steps, oldest first: at, event, from, to, by, request_id, user_id, project_id, service_id, address,
    #: seconds, stayed, error; and dropped, how many before it are no longer known.
    timeline = resource.Body('timeline', type=list)


class VolumeExplanation(_Explanation):
    """Why a volume has its status, and what comes next."""

    base_path = f'{_PREFIX}/volumes/%(volume_id)s/explain'

    #: UUID of the volume.
    volume_id = resource.URI('volume_id')
    name = resource.Body('name')
    project_id = resource.Body('project_id')
    size = resource.Body('size', type=int)
    volume_type = resource.Body('volume_type')
    is_multiattach = resource.Body('multiattach', type=bool)
    #: Attachments decide the status.
    is_derived = resource.Body('derived', type=bool)
    #: Why it has its status.
    reason = resource.Body('reason')
    #: UUIDs of the attachments that make it so.
    decided_by = resource.Body('decided_by', type=list)
    #: What its users are to be warned of.
    warning = resource.Body('warning')
    #: For admins.
    backend = resource.Body('backend')
    #: What is known of it at each of several gateways: gateway, portal, gateway_state, state, since, error; for admins.
    gateways = resource.Body('gateways', type=list)
    attachments = resource.Body('attachments', type=list)


class HostExplanation(_Explanation):
    """What is recorded of a compute host, what is true on it, and what comes next."""

    base_path = f'{_PREFIX}/hosts/%(host_name)s/explain'

    #: Name of the host.
    host_name = resource.URI('host_name')
    host = resource.Body('host')
    driven_by = resource.Body('driven_by')
    state = resource.Body('state')
    heartbeat_at = resource.Body('heartbeat_at')
    cannot_share = resource.Body('cannot_share')
    #: fenced_at, out_of_service and reason; None if it is not fenced.
    fenced = resource.Body('fenced', type=dict)
    initiators = resource.Body('initiators', type=list)
    attachments = resource.Body('attachments', type=list)


class Host(resource.Resource):
    """A compute host."""

    resource_key = 'host'
    resources_key = 'hosts'
    base_path = f'{_PREFIX}/hosts'
    allow_fetch = True
    allow_list = True

    #: Its name.
    name = resource.Body('host', alternate_id=True)
    driven_by = resource.Body('driven_by')
    #: ``up`` or ``down``; None of a host without an agent.
    state = resource.Body('state')
    #: ``enabled`` or ``disabled``; None of a host without an agent.
    status = resource.Body('status')
    zone = resource.Body('zone')
    heartbeat_at = resource.Body('heartbeat_at')
    #: Number of attachments by state.
    attachments = resource.Body('attachments', type=dict)
    server_count = resource.Body('server_count', type=int)
    initiator_count = resource.Body('initiator_count', type=int)
    #: Only of a host that is shown by itself, as all below.
    initiators = resource.Body('initiators', type=list)
    servers = resource.Body('servers', type=list)
    #: Why its servers cannot share volumes, None if they can.
    cannot_share = resource.Body('cannot_share')
    disabled_reason = resource.Body('disabled_reason')
    #: fenced_at, out_of_service and reason; None if it is not fenced.
    fenced = resource.Body('fenced', type=dict)


class AttachmentFence(resource.Resource):
    """What was cut off with one attachment."""

    resource_key = 'fence'
    base_path = f'{_PREFIX}/attachments/%(attachment_id)s/fence'
    allow_create = True

    #: UUID of the attachment.
    attachment_id = resource.URI('attachment_id')
    #: Asked for: also if others share the initiator.
    is_forced = resource.Body('force', type=bool)
    #: Each with id, volume_id, server_id, host, fenced, error and proof.
    attachments = resource.Body('attachments', type=list)


class Reservations(resource.Resource):
    """Who is registered at a volume with SCSI-3 persistent reservations."""

    resource_key = 'reservations'
    base_path = f'{_PREFIX}/volumes/%(volume_id)s/reservations'
    requires_id = False
    allow_fetch = True

    #: UUID of the volume.
    volume_id = resource.URI('volume_id')
    #: Grows with each change that an initiator makes.
    generation = resource.Body('generation', type=int)
    #: SCSI type code of the reservation: 1, 3, 5, 6, 7 or 8; None if nobody holds the volume.
    kind = resource.Body('type', type=int)
    #: The same in words.
    kind_name = resource.Body('type_name')
    #: Each with key, holder, attachment_id, attach_status, server_id, server_name; and for admins initiator.
    registrations = resource.Body('registrations', type=list)


class ReservationClearance(Reservations):
    """What is left after registrations were ended."""

    base_path = f'{_PREFIX}/volumes/%(volume_id)s/reservations/clear'
    allow_fetch = False
    allow_create = True

    #: UUID of the attachment whose registration is to be ended; only in requests, as the next two.
    attachment_id = resource.Body('attachment_id')
    server_id = resource.Body('server_id')
    initiator = resource.Body('initiator')


class HostFence(resource.Resource):
    """What was cut off with a host."""

    resource_key = 'fence'
    base_path = f'{_PREFIX}/hosts/%(host_name)s/fence'
    allow_create = True

    #: Name of the host.
    host_name = resource.URI('host_name')
    host = resource.Body('host')
    is_out_of_service = resource.Body('out_of_service', type=bool)
    reason = resource.Body('reason')
    fenced_at = resource.Body('fenced_at')
    #: An agent, a server or an attachment is of this name; None from a service of the release before.
    is_known = resource.Body('known', type=bool)
    #: Known names that may have been meant, if it is not.
    near = resource.Body('near', type=list)
    #: The host need not be known yet (only in requests).
    is_expected = resource.Body('expected', type=bool)
    #: There is a proof for each attachment, and the host is known, or need not be.
    is_complete = resource.Body('complete', type=bool)
    #: As those of :class:`AttachmentFence`.
    attachments = resource.Body('attachments', type=list)


class HostUnfence(resource.Resource):
    """A host that may have volumes again."""

    resource_key = 'unfence'
    base_path = f'{_PREFIX}/hosts/%(host_name)s/unfence'
    allow_create = True

    #: Name of the host.
    host_name = resource.URI('host_name')
    host = resource.Body('host')
    was_fenced = resource.Body('was_fenced', type=bool)
    #: As those of :class:`HostFence`.
    is_known = resource.Body('known', type=bool)
    near = resource.Body('near', type=list)


class Diagnosis(resource.Resource):
    """What all workers and agents found."""

    resource_key = 'doctor'
    base_path = f'{_PREFIX}/doctor'
    allow_create = True

    #: Asked for: put it right.
    is_fixed = resource.Body('fix', type=bool)
    #: Asked for: let what these seals name through the breakers, too.
    release = resource.Body('release', type=list)
    #: Number of workers and agents that answered.
    answered = resource.Body('answered', type=int)
    #: Number of findings that are still there.
    left = resource.Body('left', type=int)
    #: Each with kind, host, volume_id, attachment_id, about, text, step, action, outcome, since, error, seal
    #: and left.
    findings = resource.Body('findings', type=list)
    #: Each with binary, host and reason.
    unanswered = resource.Body('unanswered', type=list)


class Target(resource.Resource):
    """What a target really has, next to what is recorded of its volume."""

    resource_key = 'target'
    base_path = f'{_PREFIX}/targets'
    allow_fetch = True

    #: UUID of the volume.
    volume_id = resource.Body('volume_id', alternate_id=True)
    #: Backend that exports it.
    host = resource.Body('host')
    is_there = resource.Body('exists', type=bool)
    iqn = resource.Body('iqn')
    luns = resource.Body('luns', type=list)
    #: Who may log in.
    initiators = resource.Body('initiators', type=list)
    #: CHAP names; never secrets.
    accounts = resource.Body('accounts', type=list)
    #: Live logins.
    sessions = resource.Body('sessions', type=list)
    #: Attachments that the target should serve, None if there is no such volume.
    recorded = resource.Body('recorded', type=list)
    differences = resource.Body('differences', type=list)


class TargetPage(resource.Resource):
    """One page of targets; backends that did not answer are told apart."""

    base_path = f'{_PREFIX}/targets'
    requires_id = False
    allow_fetch = True

    targets = resource.Body('targets', type=list)
    unanswered = resource.Body('unanswered', type=list)
    next_marker = resource.Body('next_marker')


class ServerAttachment(resource.Resource):
    """An attachment that a host agent is to make, with a mode."""

    resource_key = 'attachment'
    base_path = f'{_PREFIX}/servers/%(server_id)s/attachments'
    allow_create = True

    #: UUID of the server.
    server_id = resource.URI('server_id')
    volume_id = resource.Body('volume_id')
    mode = resource.Body('mode')
    device = resource.Body('device')
    status = resource.Body('status')
