"""What is on each dashboard, in the order of the links between them."""

from . import overview, mismatches, certificates, handshakes, agent_health

BOARDS = (overview, mismatches, certificates, handshakes, agent_health)
