"""How long does one client wait for an answer of 64 bytes, when nothing else happens?

The median and the 99th percentile of a TCP round trip. `MEANTIME_SPIN_US=50` in the environment
makes meantime look for events that long before it sleeps.
"""

from __future__ import annotations

from echo_tcp import start_protocol
from network import ask_network, network_command_line

if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start_protocol)
