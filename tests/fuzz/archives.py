"""Hostile archives: tar files whose headers, names, sizes and extensions are not what an honest tar writes."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from random import Random

_BLOCK = 512
_TYPES = b"0\0\x311234567xgLKSDMNVX?"


def header(name: bytes = b"m", size: int | bytes = 0, kind: bytes = b"0", magic: bytes = b"ustar\x0000") -> bytes:
    """One tar header with a right checksum; `size` in octal, or the very bytes of the field."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = (
        name[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field.ljust(12, b"\0")[:12] + b"0" * 11 + b"\0"
    )
    block += b" " * 8 + kind + bytes(100) + magic
    block = block.ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    """Content as it is in a tar."""
    return content + bytes(-len(content) % _BLOCK)


def pax(kind: bytes = b"x", **records: bytes) -> bytes:
    """An extended header of these records."""
    body = b""
    for key, value in records.items():
        name = key.replace("__", ".").encode()
        length = len(name) + len(value) + 3
        while length != len(b"%d %s=%s\n" % (length, name, value)):
            length += 1
        body += b"%d %s=%s\n" % (length, name, value)
    return header(b"pax", len(body), kind) + padded(body)


def recipes(megabytes: int = 64) -> Iterator[tuple[str, bytes]]:
    """Archives that took memory, disk or time without end once; gzip, each a small file."""
    size, end = megabytes << 20, bytes(2 * _BLOCK)
    model = header(b"m", 4) + padded(b"{abc")
    plain = {
        "a GNU long name": header(b"././@LongLink", size, b"L") + b"a" * size + model,
        "a GNU long link": header(b"././@LongLink", size, b"K") + b"a" * size + model,
        "a pax name": header(b"pax", size, b"x") + padded(b"%d path=" % size + b"a" * (size - 20)) + model,
        "a global pax header": header(b"pax", size, b"g") + b"a" * size + model,
        "many global pax headers": pax(b"g", comment=b"c" * 900) * (size // 2048) + model,
        "folders": header(b"./", 0, b"5") * (size // _BLOCK) + model,
        "long names of long names": (header(b"././@LongLink", 5, b"L") + padded(b"name")) * (size // 1024) + model,
        "pax headers of nothing": header(b"pax", 0, b"x") * (size // _BLOCK) + model,
        "zeros at its end": model + end + bytes(size),
        "a pax size below 0": pax(size=b"-5") + model,
        "a pax size beyond all": pax(size=b"9" * 40) + model,
        "a size below 0": header(b"m", b"\xff" * 12) + padded(b"x"),
        "a size beyond all": header(b"m", b"\x80" + b"\xff" * 11) + padded(b"x"),
        "an old sparse file": header(b"m", 4, b"S", b"ustar  \0") + padded(b"{abc"),
        "a sparse file": pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__realsize=b"9" * 15) + model,
        "a sparse map without end": pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0")
        + header(b"m", size) + b"9" * 20 + b"\n" + b"1\n" * (size // 2),
        "a name twice": model + model,
        "a name too long for a disk": pax(path=b"a" * 300) + model,
        "a name with a nul": pax(path=b"a\0b") + model,
    }  # fmt: skip
    for label, content in plain.items():
        yield label, gzip.compress(content + end, 1, mtime=0)


def mutations(seed: int) -> Iterator[tuple[str, bytes]]:
    """Without end: archives of random members, extensions and damage."""
    random = Random(seed)  # noqa: S311
    names = [
        b"m",
        b"xgboost-model",
        b"./",
        b".tierfleet/",
        b".tierfleet/metadata.json",
        b"../x",
        b"/x",
        b"",
        b"a/b",
        b"._m",
    ]
    sizes: list[int | bytes] = [0, 1, 512, 513, 8**11 - 1, b"-1", b"", b"\xff" * 12, b"\x80" + bytes(7) + b"\0\x10\0\0"]
    while True:
        content = b""
        for _ in range(random.randrange(6)):
            roll = random.random()
            if roll < 0.3:
                keys = [
                    "size",
                    "path",
                    "linkpath",
                    "uid",
                    "mtime",
                    "GNU__sparse__size",
                    "GNU__sparse__map",
                    "hdrcharset",
                ]
                values = [b"-5", b"0", b"9" * 30, b"nan", b"", b"../x", b"m", b"a\0b", b"0,1,2", b"\xff"]
                content += pax(random.choice([b"x", b"g"]), **{random.choice(keys): random.choice(values)})
            elif roll < 0.4:
                content += header(b"././@LongLink", 600, random.choice([b"L", b"K"])) + padded(b"n" * 600)
            body = random.randbytes(random.choice([0, 1, 512, 700]))
            size = len(body) if random.random() < 0.7 else random.choice(sizes)
            kind = b"0" if random.random() < 0.6 else bytes([random.choice(_TYPES)])
            magic = random.choice([b"ustar\x0000", b"ustar  \0", b"", b"star\0"])
            content += header(random.choice(names), size, kind, magic) + padded(body)
        data = bytearray(content + bytes(random.choice([0, 512, 1024, 10240])))
        for _ in range(random.choice([0, 0, 1, 4])):
            if data:
                data[random.randrange(len(data))] = random.randrange(256)
        packed = gzip.compress(bytes(data), 1, mtime=0)
        yield f"{len(content)} bytes", packed if random.random() < 0.9 else packed[: random.randrange(len(packed))]


def honest(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The same files as the usual tar programs pack them."""
    for label, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz", format=form) as archive:
            for folder in (".", ".tierfleet"):
                info = tarfile.TarInfo(folder)
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            for name, content in files.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                if form == tarfile.PAX_FORMAT:  # as bsdtar writes on a Mac
                    info.pax_headers = {"LIBARCHIVE.xattr.com.apple.provenance": "AQAAtest", "mtime": "1700000000.123"}
                archive.addfile(info, io.BytesIO(content))
        yield label, made.getvalue()
