"""How many times a second can clients connect over TLS, ask once, read the answer and close?

`--handshake full` makes each handshake anew; `resumed` goes on with a session that the first
connection has left, by a ticket, and the client checks that the server has taken it.
"""

from __future__ import annotations

from echo_tls import start
from network import ask_network, network_command_line

WORDS = {"full": ("--tls",), "resumed": ("--tls", "--resume")}


def main() -> None:
    parser = network_command_line(__doc__)
    parser.add_argument("--handshake", choices=WORDS, default="full")
    options = parser.parse_args()
    ask_network(options, start, "--mode", "churn", *WORDS[options.handshake])


if __name__ == "__main__":
    main()
