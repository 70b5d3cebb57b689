# SPDX-License-Identifier: Apache-2.0
"""A volume driver of Cinder that does nothing, as the target driver "null" here."""

from cinder import interface
from cinder.volume import driver


@interface.volumedriver
class NullDriver(driver.VolumeDriver):
    VERSION = '1.0.0'

    def check_for_setup_error(self):
        pass

    def create_volume(self, volume):
        pass

    def delete_volume(self, volume):
        pass

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector):
        portal = {'target_portal': '127.0.0.1:3260', 'target_iqn': f'iqn.2010-10.org.openstack:{volume.id}'}
        return {'driver_volume_type': 'iscsi', 'data': {**portal, 'target_lun': 1, 'volume_id': volume.id}}

    def terminate_connection(self, volume, connector, **kwargs):
        pass

    def _update_volume_stats(self):
        self._stats = {
            'volume_backend_name': 'null',
            'vendor_name': 'none',
            'driver_version': self.VERSION,
            'storage_protocol': 'iSCSI',
            'multiattach': True,
            'total_capacity_gb': 'infinite',
            'free_capacity_gb': 'infinite',
        }
