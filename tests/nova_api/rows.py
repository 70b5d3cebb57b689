# SPDX-License-Identifier: Apache-2.0
"""What conductor and compute hosts write to Nova's database, with Nova's own objects, on a pipe.

Runs under the Python that has the ``nova`` package; talks as ``tests/nova/driver.py`` does.
"""

import json
import os
import sys
import traceback
import uuid

from nova import config, context as nova_context, objects
from nova.network import model as network_model
from oslo_log import log


def get_cell(context):
    [cell] = [cell for cell in objects.CellMappingList.get_all(context) if not cell.is_cell0()]
    return cell


def make_flavor():
    return objects.Flavor(
        flavorid='1',
        name='small',
        memory_mb=64,
        vcpus=1,
        root_gb=0,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={},
        description=None,
        projects=[],
    )


def make_server(context, cell, order):
    """A server that a compute host runs."""
    with nova_context.target_cell(context, cell) as here:
        instance = objects.Instance(
            here,
            uuid=str(uuid.uuid4()),
            project_id=order['project'],
            user_id=order['user'],
            display_name=order['name'],
            hostname=order['name'],
            host=order['host'],
            launched_on=order['host'],
            vm_state='active' if order['host'] else 'shelved_offloaded',
            power_state=1 if order['host'] else 4,
            task_state=None,
            image_ref='',
            memory_mb=64,
            vcpus=1,
            root_gb=0,
            ephemeral_gb=0,
            metadata={},
            system_metadata={},
            old_flavor=None,
            new_flavor=None,
            flavor=make_flavor(),
            locked=False,
            config_drive='',
            availability_zone='nova',
            info_cache=objects.InstanceInfoCache(network_info=network_model.NetworkInfo()),
            reservation_id='r-1',
            launch_index=0,
            root_device_name='/dev/vda',
        )
        instance.create()
    objects.InstanceMapping(
        context,
        instance_uuid=instance.uuid,
        project_id=order['project'],
        user_id=order['user'],
        cell_mapping=cell,
        queued_for_delete=False,
    ).create()
    return instance.uuid


def delete_server(context, cell, order):
    """As the compute host at the end of a delete; the mapping stays until it is archived."""
    with nova_context.target_cell(context, cell) as here:
        objects.Instance.get_by_uuid(here, order['server']).destroy()
    mapping = objects.InstanceMapping.get_by_instance_uuid(context, order['server'])
    mapping.queued_for_delete = True
    mapping.save()


def map_volume(context, cell, order):
    """A block device mapping: Nova uses the volume by this attachment."""
    with nova_context.target_cell(context, cell) as here:
        mapping = objects.BlockDeviceMapping(
            here,
            uuid=str(uuid.uuid4()),
            source_type='volume',
            destination_type='volume',
            device_type='disk',
            disk_bus='virtio',
            boot_index=None,
            delete_on_termination=False,
            device_name=order['device'],
            instance_uuid=order['server'],
            volume_id=order['volume'],
            attachment_id=order['attachment'],
            connection_info='{}',
            tag=None,
        )
        mapping.create()
    return mapping.uuid


def unmap_volume(context, cell, order):
    """As after a detach."""
    with nova_context.target_cell(context, cell) as here:
        objects.BlockDeviceMapping.get_by_volume_and_instance(here, order['volume'], order['server']).destroy()


ORDERS = {
    'make_server': make_server,
    'delete_server': delete_server,
    'map_volume': map_volume,
    'unmap_volume': unmap_volume,
}


def main():
    # Whatever else prints goes to stderr: stdout belongs to the answers.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    config.parse_args(sys.argv[:1], default_config_files=sys.argv[1:])
    log.setup(config.CONF, 'nova')
    objects.register_all()
    for line in sys.stdin:
        order = json.loads(line)
        context = nova_context.get_admin_context()
        try:
            answer = {'value': ORDERS[order['do']](context, get_cell(context), order)}
        except Exception as exc:
            answer = {
                'error': {
                    'class': type(exc).__name__,
                    'module': type(exc).__module__,
                    'code': None,
                    'text': str(exc),
                    'trace': traceback.format_exc()[-3000:],
                }
            }
        answers.write(json.dumps(answer) + '\n')
        answers.flush()


if __name__ == '__main__':
    main()
