"""Sets up a child of the supervisor as its first message says."""

from gemwire_server.config.options import ServerConfig
from gemwire_server.observe.logs import set_up_logging
from gemwire_server.observe.metrics_files import keep_in_files
from gemwire_server.processes.control_messages import ChildStart


def set_up(start: ChildStart) -> ServerConfig:
    """Sets up the log and the metrics, before the first metric is made. Returns the configuration."""
    config = ServerConfig(**start.config)
    set_up_logging(config.log_level, config.log_format)
    keep_in_files(start.metrics_folder, start.name)
    return config
