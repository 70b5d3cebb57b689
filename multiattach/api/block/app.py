# SPDX-License-Identifier: Apache-2.0
"""The Block Storage API, version 3."""

from multiattach.api import microversion, routing, versions
from multiattach.api.block import (
    absent,
    attachments,
    default_types,
    doctor,
    encryptions,
    explanations,
    extensions,
    fences,
    hosts,
    manageable,
    manageable_snapshots,
    messages,
    pools,
    qos_specs,
    quotas,
    reservations,
    services,
    snapshots,
    targets,
    transfers,
    type_access,
    types,
    volume_hosts,
)
from multiattach.api.block.volumes import actions, controller, metadata
from multiattach.api.faults import WsgiApp
from multiattach.api.settings import ApiSettings
from multiattach.engine.assembly import Engine

CONTROLLERS = (
    versions.VersionController,
    types.TypesController,
    types.ExtraSpecsController,
    type_access.TypeAccessController,
    encryptions.EncryptionsController,
    default_types.DefaultTypesController,
    quotas.QuotaSetsController,
    controller.VolumesController,
    metadata.MetadataController,
    actions.VolumeActionsController,
    snapshots.SnapshotsController,
    snapshots.SnapshotActionsController,
    attachments.AttachmentsController,
    attachments.AttachmentActionsController,
    qos_specs.QosSpecsController,
    transfers.TransfersController,
    manageable.ManageableVolumesController,
    manageable_snapshots.ManageableSnapshotsController,
    volume_hosts.VolumeHostsController,
    services.ServicesController,
    pools.PoolsController,
    extensions.ExtensionsController,
    messages.MessagesController,
    quotas.LimitsController,
    absent.AbsentController,
    explanations.ExplanationsController,
    hosts.HostsController,
    targets.TargetsController,
    reservations.ReservationsController,
    fences.FencesController,
    doctor.DoctorController,
)


def make_app(engine: Engine, settings: ApiSettings) -> WsgiApp:
    """Make the application of ``/v3``."""
    controllers = [controller(engine, settings) for controller in CONTROLLERS]
    return routing.make_app(microversion.BLOCK_STORAGE, controllers, settings)
