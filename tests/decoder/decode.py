"""A second decoder of Outpost's log, written from wire/SPEC.md, to see that the specification is enough.

It takes nothing of the project but schema/events.json, of which it reads the keys that begin with x-, and nothing
but Python's standard library:

    python3 decode.py schema/events.json SESSION

SESSION is what one side of a session sent. Each record becomes one line of JSON with the keys of
`outpost collect --json`, less what only a collector knows; each other frame becomes one with its name under "frame".
"""

import json
import sys
import zlib

LOST = ["overflow", "torn", "collector_rolled_back"]
BYE = ["version", "key_required", "storage", "shutdown", "protocol"]


class Malformed(Exception):
    """The bytes are not what the specification says."""


class Reader:
    """The numbers and texts of section 1, read one after the other."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def rest(self):
        return self.take(len(self.data) - self.at)

    def take(self, length):
        if self.at + length > len(self.data):
            raise Malformed("the bytes end too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self, bits):
        number = 0
        for shift in range(0, bits, 7):
            byte = self.u8()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if number >> bits:
                    raise Malformed("a number is out of its range")
                return number
        raise Malformed("a number is too long")

    def boolean(self):
        byte = self.u8()
        if byte > 1:
            raise Malformed("a bool is neither 0 nor 1")
        return byte == 1

    def text(self, most):
        length = self.varint(64)
        if length > most:
            raise Malformed("a text is longer than its field allows")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("a text is not UTF-8") from error

    def word(self, words):
        index = self.u8()
        return words[index] if index < len(words) else f"#{index}"

    def boot_range(self):
        return {"boot": f"{self.varint(64):016x}", "oldest": self.varint(64), "next": self.varint(64)}


class Name(int):
    """An id of a text, looked up when all records are there."""


def value(reader, field):
    kind = field["type"]
    if kind == "u8":
        return reader.u8()
    if kind in ("u16", "u32", "u64"):
        return reader.varint(int(kind[1:]))
    if kind == "bool":
        return reader.boolean()
    if kind == "text":
        return reader.text(field["max_bytes"])
    if kind == "word":
        return reader.word(field["words"])
    if kind == "ip4":
        return ".".join(str(byte) for byte in reader.take(4))
    if kind == "name":
        return Name(reader.varint(16))
    if kind == "bytes":
        data = reader.take(field["length"])
        return data.hex() if any(data) else None
    raise SystemExit(f"events.json has a field of type {kind}, which this decoder does not know")


class Decoder:
    """One direction of a session, from its first byte on."""

    def __init__(self, schema):
        self.severities = schema["x-severities"]
        self.events = {event["x-id"]: event for event in schema["$defs"].values() if "x-id" in event}
        self.agent = None
        self.boots = [None, None]
        self.names = {}
        self.lines = []

    def session(self, data):
        reader = Reader(data)
        if data.startswith(b"OUTP"):
            magic, version, mode = reader.take(4), reader.u8(), reader.u8()
            self.lines.append({"frame": "preface", "magic": magic.decode(), "version": version, "mode": mode})
        while reader.at < len(data):
            self.frame(reader)

    def frame(self, reader):
        start = reader.at
        length = int.from_bytes(reader.take(2), "little")
        if not 1 <= length <= 1394:
            raise Malformed("a frame has a wrong length")
        body = Reader(reader.take(length))
        covered = reader.data[start : reader.at]
        if zlib.crc32(covered) != int.from_bytes(reader.take(4), "little"):
            raise Malformed("a frame's CRC is wrong")
        kind = body.u8()
        decode = {1: self.hello, 2: self.welcome, 3: self.batch, 4: self.lost, 5: self.ack, 6: self.alive, 7: self.bye}
        if kind in decode:
            decode[kind](body)
        else:
            self.lines.append({"frame": f"#{kind}"})

    def hello(self, body):
        line = {"frame": "hello", "features": body.varint(32), "agent": body.text(63), "current": body.boot_range()}
        line["previous"] = body.boot_range() if body.boolean() else None
        line["catalogue"] = body.take(8).hex()
        line["image_id"] = body.take(32).hex()
        line["config"] = body.take(8).hex()
        # It came after the first agents.
        line["severities"] = (body.rest() + bytes(8))[:8].hex()
        self.agent = line["agent"]
        self.boots = [line["current"]["boot"], (line["previous"] or {}).get("boot")]
        self.lines.append(line)

    def welcome(self, body):
        line = {"frame": "welcome", "features": body.varint(32)}
        line.update(current=body.varint(64), previous=body.varint(64))
        self.lines.append(line)

    def batch(self, body):
        boot, seq = self.boots[body.u8()], body.varint(64)
        while body.at < len(body.data):
            self.record(boot, seq, Reader(body.take(body.u8())))
            seq += 1

    def lost(self, body):
        line = {"frame": "lost", "boot": self.boots[body.u8()]}
        line.update({"from": body.varint(64), "to": body.varint(64), "reason": body.word(LOST)})
        self.lines.append(line)

    def ack(self, body):
        self.lines.append({"frame": "ack", "boot": body.u8(), "seq": body.varint(64)})

    def alive(self, body):
        self.lines.append({"frame": "alive", "next": body.varint(64)})

    def bye(self, body):
        self.lines.append({"frame": "bye", "reason": body.word(BYE)})

    def record(self, boot, seq, body):
        mono_us, severity = body.varint(64), body.u8()
        transaction, event_id = body.varint(32), body.varint(16)
        encoded = body.rest()
        event = self.events.get(event_id)
        fields = self.fields(event, encoded)
        if event and event["title"] == "intern" and "raw" not in fields:
            self.names[boot, fields["id"]] = fields["text"]
        self.lines.append({
            "agent": self.agent,
            "boot": boot,
            "seq": seq,
            "mono_us": mono_us,
            "severity": self.severity_name(severity),
            "severity_number": severity,
            "event": event["title"] if event else f"#{event_id}",
            "transaction": transaction or None,
            "fields": fields,
        })

    def fields(self, event, encoded):
        if not event:
            return {"raw": encoded.hex()}
        try:
            reader = Reader(encoded)
            fields = {}
            for field in event["x-fields"]:
                if field.get("later") and reader.at == len(encoded):
                    # The record is older than this field and those behind it.
                    break
                fields[field["name"]] = value(reader, field)
            return fields
        except Malformed:
            return {"raw": encoded.hex()}

    def severity_name(self, number):
        for name, (low, high) in self.severities.items():
            if low <= number <= high:
                return name
        raise Malformed("a severity is not one of 1 to 24")

    def resolved(self, line):
        """The line with its names as texts."""
        fields = dict(line["fields"])
        for name, found in fields.items():
            if isinstance(found, Name):
                fields[name] = self.names.get((line["boot"], found), f"#{found}") if found else None
        return {**line, "fields": fields}


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        decoder = Decoder(json.load(file))
    with open(sys.argv[2], "rb") as file:
        decoder.session(file.read())
    for line in decoder.lines:
        print(json.dumps(decoder.resolved(line) if "fields" in line else line))


if __name__ == "__main__":
    main()
