"""Makes a device send frames as they would be on a wire, each of its own size and with its checksum filled in, which a
virtual one otherwise leaves out: `no_offload.py DEVICE`."""

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_STSO = 0x17, 0x1F

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for command in (ETHTOOL_STSO, ETHTOOL_STXCSUM):
        value = array.array("B", struct.pack("II", command, 0))
        request = struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0])
        fcntl.ioctl(s, SIOCETHTOOL, request)
