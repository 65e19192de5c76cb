"""The other end of a tunnel `far0`: answers each ICMP echo after so many milliseconds,
and refuses each TCP connection at once."""

import fcntl
import heapq
import os
import select
import struct
import sys
import time

DELAY = int(sys.argv[1]) / 1000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(source, to, protocol, payload):
    length = 20 + len(payload)
    fields = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, protocol, 0, source, to)
    return fields[:10] + struct.pack("!H", checksum(fields)) + fields[12:] + payload


def echo(source, to, body):
    answer = b"\0\0\0\0" + body[4:]
    return header(to, source, 1, answer[:2] + struct.pack("!H", checksum(answer)) + answer[4:])


def refusal(source, to, body):
    ports = body[2:4] + body[0:2]
    acknowledged = struct.unpack("!I", body[4:8])[0] + 1 & 0xFFFFFFFF
    answer = ports + struct.pack("!IIBBHHH", 0, acknowledged, 5 << 4, 0x14, 0, 0, 0)
    pseudo = to + source + struct.pack("!BBH", 0, 6, len(answer))
    return header(to, source, 6, answer[:16] + struct.pack("!H", checksum(pseudo + answer)) + answer[18:])


tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH", b"far0", IFF_TUN | IFF_NO_PI))
print("ready", flush=True)
due = []
while True:
    wait = max(0, due[0][0] - time.monotonic()) if due else None
    if select.select([tunnel], [], [], wait)[0]:
        packet = os.read(tunnel, 2048)
        now = time.monotonic()
        if packet[0] >> 4 != 4:
            continue
        start = (packet[0] & 15) * 4
        source, to, body = packet[12:16], packet[16:20], packet[start:]
        if packet[9] == 1 and body[0] == 8:
            heapq.heappush(due, (now + DELAY, echo(source, to, body)))
        elif packet[9] == 6 and body[13] & 2:
            heapq.heappush(due, (now, refusal(source, to, body)))
    while due and due[0][0] <= time.monotonic():
        os.write(tunnel, heapq.heappop(due)[1])
