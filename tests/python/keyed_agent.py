"""A keyed log session written from wire/SPEC.md alone, on the PyPI package `noiseprotocol`.

Says Hello, sends the next two of four records and prints what the collector held before and what it acknowledged:
    keyed_agent.py HOST PORT AGENT KEY_HEX
It imports nothing of Outpost's: what it can say, any third party can.
"""

import socket
import struct
import sys
import zlib

from noise.connection import Keypair, NoiseConnection

HANDSHAKE = 48


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def take_varint(data):
    number = shift = 0
    for at, byte in enumerate(data):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, data[at + 1 :]
    raise ValueError("a varint has no end")


def frame(kind, body):
    covered = struct.pack("<HB", len(body) + 1, kind) + body
    return covered + struct.pack("<I", zlib.crc32(covered))


class Session:
    def __init__(self, host, port, agent, key):
        self.socket = socket.create_connection((host, port), timeout=20)
        prologue = b"OUTP\x01\x01" + bytes([len(agent)]) + agent
        self.noise = NoiseConnection.from_name(b"Noise_NNpsk0_25519_ChaChaPoly_SHA256")
        self.noise.set_psks(key)
        self.noise.set_prologue(prologue)
        self.noise.set_as_initiator()
        self.noise.start_handshake()
        self.socket.sendall(prologue + self.noise.write_message())
        self.noise.read_message(self.exactly(HANDSHAKE))
        assert self.noise.handshake_finished

    def exactly(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                sys.exit("closed")
            data += piece
        return data

    def say(self, kind, body):
        sealed = self.noise.encrypt(frame(kind, body))
        self.socket.sendall(struct.pack("<H", len(sealed)) + sealed)

    def hear(self):
        (length,) = struct.unpack("<H", self.exactly(2))
        clear = self.noise.decrypt(self.exactly(length))
        covered, crc = clear[:-4], clear[-4:]
        assert struct.unpack("<I", crc)[0] == zlib.crc32(covered)
        assert struct.unpack("<H", covered[:2])[0] == len(covered) - 2
        return covered[2], covered[3:]


def main():
    host, port, agent, key = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), bytes.fromhex(sys.argv[4])
    session = Session(host, port, agent, key)
    boot = varint(0x1234) + varint(1) + varint(5)
    session.say(1, varint(0) + varint(len(agent)) + agent + boot + b"\0" + bytes(8) + bytes(32) + bytes(8))
    kind, body = session.hear()
    assert kind == 2, kind
    _, body = take_varint(body)
    held, _ = take_varint(body)
    print("welcome", held)
    # network.down, severity 17, no transaction, reason no_link.
    records = [varint(mono_us) + bytes([17]) + varint(0) + varint(4) + b"\1" for mono_us in (1_000_000, 2_000_000)]
    session.say(3, b"\0" + varint(held + 1) + b"".join(bytes([len(record)]) + record for record in records))
    acked = held
    while acked < held + 2:
        kind, body = session.hear()
        assert kind == 5 and body[0] == 0, (kind, body)
        acked, _ = take_varint(body[1:])
    print("ack", acked)


main()
