"""`gemwire serve` with the fake device: python -m faults.server FLAGS"""

import argparse
import os
import sys

from gemwire_server.config.options import ServerConfig, add_flags
from gemwire_server.serving import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_flags(parser)
    config = ServerConfig.load(parser.parse_args(), os.environ)
    sys.exit(serve(config, loader="faults.fake_device:load"))
