"""A LeRobot plugin: importing it registers `--policy.type=flowguide`."""

from .configuration_flowguide import FlowguideConfig as FlowguideConfig
