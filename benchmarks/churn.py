"""How many times a second can clients connect, ask once, read the answer and close?"""

from __future__ import annotations

from echo_tcp import start_protocol
from network import ask_network, network_command_line

if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start_protocol, "--mode", "churn")
