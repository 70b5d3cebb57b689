# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

from multiattach import concurrency

concurrency.select()
_TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_TOP / 'doc' / 'ext'))

project = 'multiattach'
copyright = 'multiattach developers'
extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxext',
    'oslo_config.sphinxconfiggen',
    'oslo_policy.sphinxext',
    'oslo_policy.sphinxpolicygen',
    'sphinx.ext.graphviz',
    # doc/ext: what is made of the code's own tables
    'api_ref',
    'citations',
    'drift_table',
    'openapi',
    'pictures',
    'release_notes',
    'state_tables',
]
html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
pygments_style = 'native'
graphviz_output_format = 'svg'
nitpicky = True

# The samples are those of etc/multiattach, whose generators know the namespaces.
config_generator_config_file = [(str(_TOP / 'etc/multiattach/config-generator.conf'), '_static/multiattach')]
sample_config_basename = '_static/multiattach'
policy_generator_config_file = [(str(_TOP / 'etc/multiattach/policy-generator.conf'), '_static/multiattach')]
