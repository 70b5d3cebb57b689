# SPDX-License-Identifier: Apache-2.0
"""Nova's own code on a pipe: runs under the Python that has the ``nova`` package.

Each line on stdin is a JSON object ``{"do": …, "who": {…}, …}``, each line on stdout its answer,
``{"value": …}`` or ``{"error": {"class": …, "module": …, "code": …, "text": …}}``. Nova's database is not
there: an order brings its block device mapping, and the answer gives it back.
"""

import contextlib
import json
import os
import sys
import traceback
import types
import uuid
from unittest import mock

import nova.conf
from nova import context as nova_context, exception, objects
from nova.api.openstack.compute.schemas import volume_attachments
from nova.compute import api as compute_api, manager, utils as compute_utils
from nova.image import glance
from nova.virt import block_device as driver_block_device
from nova.virt.libvirt import blockinfo, config as libvirt_config
from nova.virt.libvirt.driver import LibvirtDriver
from nova.virt.libvirt.volume.iscsi import LibvirtISCSIVolumeDriver
from nova.virt.libvirt.volume.net import LibvirtNetVolumeDriver
from nova.volume import cinder
from os_brick.privileged import default as brick_privileges
from oslo_log import log
from oslo_utils import timeutils

CONF = nova.conf.CONF
API = cinder.API()
FORGOTTEN = set()


def keep(mapping):
    """Stand in for the write of a block device mapping to Nova's database."""
    mapping.obj_reset_changes()


def forget(mapping):
    """Stand in for its removal."""
    FORGOTTEN.add(mapping.uuid)


class Host:
    """The compute driver, as far as Nova's block device code asks it; it writes down what it was told."""

    capabilities = {'supports_multiattach': True}

    def __init__(self, connector, fails):
        self.connector = connector
        self.fails = fails
        self.told = []

    def get_volume_connector(self, _instance):
        return dict(self.connector)

    def instance_exists(self, _instance):
        return True

    def attach_volume(self, _context, connection_info, _instance, mountpoint, **_kwargs):
        self.told.append(['attach', connection_info, mountpoint])
        if self.fails:
            raise exception.DeviceNotFound(device=mountpoint)

    def detach_volume(self, _context, connection_info, _instance, mountpoint, **_kwargs):
        self.told.append(['detach', connection_info, mountpoint])
        if self.fails:
            raise exception.DeviceDetachFailed(device=mountpoint, reason='the guest keeps it')


class Secrets:
    """The libvirt connection that Nova's volume driver asks for secrets of encrypted volumes."""

    def find_secret(self, _kind, _volume_id):
        return None


def make_context(who):
    """Make the context of a request to Nova; without a token that of Nova's own periodic tasks."""
    if who is None:
        return nova_context.get_admin_context()
    return nova_context.RequestContext(
        user_id=who['user_id'],
        project_id=who['project_id'],
        auth_token=who['token'],
        roles=who['roles'],
        is_admin=who['is_admin'],
        service_catalog=who['catalog'],
    )


def make_mapping(order):
    kept = order['mapping']
    mapping = objects.BlockDeviceMapping(
        id=1,
        uuid=str(uuid.uuid4()),
        source_type=kept.get('source', 'volume'),
        destination_type='volume',
        device_type='disk',
        disk_bus='virtio',
        guest_format=None,
        volume_size=kept.get('size'),
        boot_index=kept.get('boot_index'),
        delete_on_termination=False,
        device_name=kept.get('device', '/dev/vdb'),
        instance_uuid=kept['instance'],
        volume_id=kept['volume'],
        attachment_id=kept.get('attachment'),
        snapshot_id=kept.get('snapshot'),
        image_id=kept.get('image'),
        no_device=False,
        volume_type=None,
        tag=None,
        encrypted=False,
        connection_info=json.dumps(kept.get('connection_info') or {}),
    )
    mapping.obj_reset_changes()
    return mapping


def make_instance(order):
    return objects.Instance(uuid=order['mapping']['instance'], host=order.get('instance_host', CONF.host))


def show(mapping, host=None):
    """Write a block device mapping as the next order is to give it."""
    return {
        'mapping': {
            'volume': mapping.volume_id,
            'instance': mapping.instance_uuid,
            'device': mapping.device_name,
            'attachment': mapping.attachment_id,
            'connection_info': json.loads(mapping.connection_info),
            'destroyed': mapping.uuid in FORGOTTEN,
        },
        'told': host.told if host else [],
    }


def call(order):
    """Call a method of Nova's client of the Block Storage service."""
    return getattr(API, order['name'])(make_context(order['who']), *order.get('args', []), **order.get('kwargs', {}))


def attach(order):
    """What a compute host does with a volume that is reserved for a server of its own."""
    mapping, host = make_mapping(order), Host(order['connector'], order.get('fails'))
    device = driver_block_device.DriverVolumeBlockDevice(mapping)
    device.attach(make_context(order['who']), make_instance(order), API, host, do_driver_attach=True)
    return show(mapping, host)


def boot(order):
    """What a compute host does with the volumes of a server that is built: those of images are made first."""
    mappings = objects.BlockDeviceMappingList(
        objects=[make_mapping({'mapping': mapping}) for mapping in order['mappings']]
    )
    host, myself = Host(order['connector'], False), types.SimpleNamespace(volume_api=API)
    driver_block_device.attach_block_devices(
        driver_block_device.convert_all_volumes(*mappings),
        make_context(order['who']),
        make_instance({'mapping': order['mappings'][0]}),
        API,
        host,
        wait_func=types.MethodType(manager.ComputeManager._await_block_device_map_created, myself),
    )
    return {'mappings': [show(mapping)['mapping'] for mapping in mappings]}


def make_server_image(order):
    """What the Compute API does for an image of a server that boots from a volume."""
    mappings = objects.BlockDeviceMappingList(
        objects=[make_mapping({'mapping': mapping}) for mapping in order['mappings']]
    )
    who = make_context(order['who'])
    instance = objects.Instance(
        uuid=order['mappings'][0]['instance'],
        project_id=who.project_id,
        vm_state='stopped',
        task_state=None,
        launched_at=timeutils.utcnow(),
        root_device_name='/dev/vda',
        system_metadata={'image_min_ram': '64', 'image_disk_format': 'qcow2', 'image_container_format': 'bare'},
    )
    # Of Nova's database: what the server has, and notes of what is done to it.
    myself = types.SimpleNamespace(volume_api=API, image_api=glance.API(), _record_action_start=lambda *_args: None)
    with (
        mock.patch.object(objects.BlockDeviceMappingList, 'get_by_instance_uuid', return_value=mappings),
        mock.patch.object(compute_utils, 'EventReporter', return_value=contextlib.nullcontext()),
    ):
        return compute_api.API.snapshot_volume_backed(myself, who, instance, order['name'])


def read_server_image(order):
    """What the Compute API reads of the image for a new server: its block devices."""
    image = glance.API().get(make_context(order['who']), order['image'])
    found = compute_api.API._get_image_defined_bdms(types.SimpleNamespace(), None, image, None)
    return [dict(one) for one in found]


def detach(order):
    """What a compute host does to take a volume away."""
    mapping, host = make_mapping(order), Host(order['connector'], order.get('fails'))
    device = driver_block_device.DriverVolumeBlockDevice(mapping)
    device.detach(make_context(order['who']), make_instance(order), API, host, order.get('attachment_id'))
    return show(mapping, host)


def refresh(order):
    """What a hard reboot does to read connection_info again."""
    mapping, host = make_mapping(order), Host(order['connector'], False)
    device = driver_block_device.DriverVolumeBlockDevice(mapping)
    device.refresh_connection_info(make_context(order['who']), make_instance(order), API, host)
    return show(mapping, host)


def manage(order):
    """Run a method of the compute manager that deals with the volumes of one server."""
    mapping = make_mapping(order)
    myself = types.SimpleNamespace(volume_api=API, driver=Host(order.get('connector'), False), host=CONF.host)
    mappings = objects.BlockDeviceMappingList(objects=[mapping])
    context, instance = make_context(order['who']), make_instance(order)
    method = getattr(manager.ComputeManager, order['name'])
    if order['name'] == '_complete_volume_attachments':
        method(myself, context, mappings)
    else:
        method(myself, context, instance, mappings)
    return show(mapping)


def render_disk(order):
    """Write the XML of a disk as Nova's libvirt driver does."""
    # As libvirt_volume_drivers of Nova's driver has it.
    drivers = {'iscsi': LibvirtISCSIVolumeDriver, 'rbd': LibvirtNetVolumeDriver}
    volumes = drivers[order['connection_info']['driver_volume_type']](Secrets())
    libvirt = types.SimpleNamespace(
        disk_cachemodes=dict(order.get('cachemodes', {})), _get_volume_driver=lambda _info: volumes
    )
    libvirt._set_cache_mode = types.MethodType(LibvirtDriver._set_cache_mode, libvirt)
    # As a block device mapping has it; nobody who attaches a volume to a server that is there can say it.
    wish = {'device_name': f'/dev/{order["dev"]}', 'disk_bus': 'virtio', 'device_type': 'disk', **order.get('bdm', {})}
    place = blockinfo.get_info_from_bdm(None, 'kvm', None, wish)
    disk = LibvirtDriver._get_volume_config(libvirt, order['connection_info'], place)
    assert isinstance(disk, libvirt_config.LibvirtConfigGuestDisk)
    return disk.to_xml(pretty_print=False)


def list_wishes(_order):
    """List what a user may say of an attachment, by Nova's newest schema."""
    return sorted(volume_attachments.create_v279['properties']['volumeAttachment']['properties'])


def find_paths(order):
    """Ask os-brick under which names the device of a volume is to appear."""
    connector = LibvirtISCSIVolumeDriver(Secrets()).connector
    return connector._get_device_path(order['connection_info']['data'])


def get_connector(_order):
    """Describe this machine as Nova's libvirt driver describes a compute host."""
    return LibvirtDriver.get_volume_connector(types.SimpleNamespace(), None)


ORDERS = {
    'call': call,
    'attach': attach,
    'boot': boot,
    'make_server_image': make_server_image,
    'read_server_image': read_server_image,
    'detach': detach,
    'refresh': refresh,
    'manage': manage,
    'render_disk': render_disk,
    'list_wishes': list_wishes,
    'find_paths': find_paths,
    'get_connector': get_connector,
}


def tell(exc):
    return {
        'class': type(exc).__name__,
        'module': type(exc).__module__,
        'code': getattr(exc, 'code', None),
        'text': str(exc),
        'trace': traceback.format_exc()[-3000:],
    }


def main():
    # Whatever else prints goes to stderr: stdout belongs to the answers.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    log.register_options(CONF)
    CONF(['--config-file', sys.argv[1]], project='nova', default_config_files=[sys.argv[1]])
    log.setup(CONF, 'nova')
    objects.register_all()
    objects.BlockDeviceMapping.save, objects.BlockDeviceMapping.destroy = keep, forget
    brick_privileges.set_client_mode(False)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {'value': ORDERS[order['do']](order)}
        except Exception as exc:
            answer = {'error': tell(exc)}
        answers.write(json.dumps(answer, default=str) + '\n')
        answers.flush()


if __name__ == '__main__':
    main()
