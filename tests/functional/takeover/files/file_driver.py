# SPDX-License-Identifier: Apache-2.0
"""A volume driver of Cinder with files instead of logical volumes: its targets are those of Cinder's own tgt driver."""

import os
import pathlib

from cinder import interface
from cinder.volume import driver
from cinder.volume.targets import tgt
from oslo_config import cfg

GIB = 1024**3


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    VERSION = '1.0.0'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.target = tgt.TgtAdm(configuration=self.configuration, db=self.db, executor=self._execute)
        self.folder = pathlib.Path(cfg.CONF.state_path, 'volumes')
        self.folder.mkdir(exist_ok=True)

    def check_for_setup_error(self):
        pass

    def _path(self, volume):
        return self.folder / volume.name

    def create_volume(self, volume):
        with self._path(volume).open('wb') as file:
            os.truncate(file.fileno(), volume.size * GIB)

    def delete_volume(self, volume):
        self._path(volume).unlink(missing_ok=True)

    def extend_volume(self, volume, new_size):
        os.truncate(self._path(volume), int(new_size) * GIB)

    def ensure_export(self, context, volume):
        return self.target.ensure_export(context, volume, str(self._path(volume)))

    def create_export(self, context, volume, connector):
        told = self.target.create_export(context, volume, str(self._path(volume)))
        return {'provider_location': told['location'], 'provider_auth': told['auth']}

    def remove_export(self, context, volume):
        self.target.remove_export(context, volume)

    def initialize_connection(self, volume, connector):
        return self.target.initialize_connection(volume, connector)

    def terminate_connection(self, volume, connector, **kwargs):
        self.target.terminate_connection(volume, connector, **kwargs)
        # As Cinder's LVM driver: others have the export, too, and it stays.
        return len(volume.volume_attachment) > 1

    def _update_volume_stats(self):
        self._stats = {
            'volume_backend_name': 'files',
            'vendor_name': 'none',
            'driver_version': self.VERSION,
            'storage_protocol': 'iSCSI',
            'multiattach': True,
            'total_capacity_gb': 'infinite',
            'free_capacity_gb': 'infinite',
        }
