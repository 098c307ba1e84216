#!/usr/bin/env python3
"""Makes the seeds in elf/: small programs and libraries with what is looked for in real ones. The unit tests of
agent/src/libraries read them too and know where everything is: see `places` in each."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent
BASE = 0x400000
X86_64, AARCH64 = 62, 183
PROGBITS, SYMTAB, STRTAB, RELA, DYNSYM = 1, 2, 3, 4, 11
ALLOC, CODE, DATA = 2, 6, 3


class Elf:
    """Sections one after the other; a byte's address is its offset plus BASE."""

    def __init__(self, machine):
        self.machine, self.body, self.sections = machine, bytearray(0x40 + 56), [("", 0, 0, 0, 0, 0)]

    def at(self, align=16):
        self.body += bytes(-len(self.body) % align)
        return BASE + len(self.body)

    def add(self, name, kind, flags, data, link=0):
        address = self.at()
        self.body += data
        self.sections.append((name, kind, flags, address, len(data), link))
        return address

    def symbols(self, name, kind, flags, symbols):
        """(name, address or 0, size), names of which one is the tail of another shared as linkers do."""
        names, entries = bytearray(b"\0"), bytes(24)
        for symbol, address, size in symbols:
            text = symbol.encode() + b"\0"
            at = names.find(text)
            if at < 0:
                at = len(names)
                names += text
            entries += struct.pack("<IBBHQQ", at, 0x12, 0, 1 if address else 0, address, size)
        self.add(name, kind, flags, entries, link=len(self.sections) + 1)
        self.add(name.replace("sym", "str"), STRTAB, flags, bytes(names))

    def finish(self):
        names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in self.sections[1:]) + b".shstrtab\0"
        self.add(".shstrtab", STRTAB, 0, names)
        table = self.at() - BASE
        for name, kind, flags, address, size, link in self.sections:
            at = names.find(b"\0" + name.encode() + b"\0") + 1 if name else 0
            offset = address - BASE if address else 0
            self.body += struct.pack("<IIQQQQIIQQ", at, kind, flags, address, offset, size, link, 0, 16, 0)
        ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
        self.body[:0x40] = ident + struct.pack(
            "<HHIQQQIHHHHHH", 3, self.machine, 1, 0, 0x40, table, 0, 64, 56, 1, 64, len(self.sections), len(self.sections) - 1
        )
        self.body[0x40 : 0x40 + 56] = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, table, table, 0x1000)
        return bytes(self.body)


def frames(elf, functions):
    """.eh_frame and its index for (start, size)."""
    address = elf.at()
    cie = struct.pack("<II", 16, 0) + b"\x01zR\0\x01\x78\x10\x01\x1b\0\0\0"
    data, table = bytearray(cie), []
    for start, size in sorted(functions):
        at = address + len(data)
        table.append((start, at))
        data += struct.pack("<IIiIB3x", 16, len(data) + 4, start - (at + 8), size, 0)
    data += bytes(4)
    elf.add(".eh_frame", PROGBITS, ALLOC, bytes(data))
    here = elf.at()
    index = bytes([1, 0x1B, 0x03, 0x3B]) + struct.pack("<iI", address - (here + 4), len(table))
    index += b"".join(struct.pack("<ii", start - here, at - here) for start, at in table)
    elf.add(".eh_frame_hdr", PROGBITS, ALLOC, index)


class Code:
    """Functions of calls, 32 bytes apart."""

    def __init__(self, elf, size=0x200):
        self.elf, self.address, self.bytes, self.functions = elf, elf.at(), bytearray(), []

    def call(self, at, target):
        if self.elf.machine == AARCH64:
            return struct.pack("<I", 0x94000000 | ((target - at) // 4 & 0x3FFFFFF))
        return b"\xe8" + struct.pack("<i", target - (at + 5))

    def function(self, *targets):
        nop, end = (b"\x90", b"\xc3") if self.elf.machine == X86_64 else (b"\x1f\x20\x03\xd5", b"\xc0\x03\x5f\xd6")
        start = self.address + len(self.bytes)
        body = bytearray(nop)
        for target in targets:
            body += self.call(start + len(body), target)
        body += end
        self.functions.append((start, len(body)))
        self.bytes += body + nop * ((-len(body) % 32) // len(nop))
        return start

    def finish(self):
        assert self.elf.add(".text", PROGBITS, CODE, bytes(self.bytes)) == self.address


def plt(elf, count):
    """Stubs through slots that will be 16 * count further on; both lists."""
    size = 16 * count
    address = elf.at()
    stubs, slots = [address + 16 * i for i in range(count)], [address + size + 8 * i for i in range(count)]
    data = bytearray()
    for stub, slot in zip(stubs, slots):
        if elf.machine == X86_64:
            # endbr64; bnd jmp *slot(%rip); padding
            data += b"\xf3\x0f\x1e\xfa\xf2\xff\x25" + struct.pack("<i", slot - (stub + 11)) + bytes(5)
        else:
            pages = (slot >> 12) - (stub >> 12)
            adrp = 0x90000010 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
            ldr = 0xF9400211 | (slot & 0xFFF) // 8 << 10
            data += struct.pack("<IIII", adrp, ldr, 0x91000210 | (slot & 0xFFF) << 10, 0xD61F0220)
    elf.add(".plt.sec" if elf.machine == X86_64 else ".plt", PROGBITS, CODE, bytes(data))
    assert elf.add(".got", PROGBITS, DATA, bytes(8 * count)) == slots[0]
    return stubs, slots


def relocations(elf, slots, first=1):
    kind = 7 if elf.machine == X86_64 else 1026
    rela = b"".join(struct.pack("<QIIq", slot, kind, first + i, 0) for i, slot in enumerate(slots))
    elf.add(".rela.plt", RELA, ALLOC, rela)


def openssl_shared(machine):
    """places: second instruction of the first two functions of .text."""
    elf = Elf(machine)
    stubs, slots = plt(elf, 4)
    parse, collect, show, insert = stubs
    code = Code(elf)
    code.function(parse, collect)
    code.function(parse, collect)
    code.function(parse, collect, show)
    code.function(parse, insert, collect)
    code.function(parse)
    own = code.function(parse, collect)
    other = code.function()
    code.finish()
    names = ["d2i_X509", "OPENSSL_sk_push", "X509_print_ex", "OPENSSL_sk_insert"]
    defined = [("SSL_use_certificate_ASN1", own, 32), ("BIO_SSL_do_handshake", other, 1), ("SSL_do_handshake", other, 1)]
    elf.symbols(".dynsym", DYNSYM, ALLOC, [(n, 0, 0) for n in names] + defined + [("OPENSSL_init_ssl", other, 1)])
    relocations(elf, slots)
    frames(elf, code.functions)
    return elf.finish()


def openssl_static():
    """places: second instruction of the second and third function."""
    elf = Elf(X86_64)
    code = Code(elf)
    parse = code.function()
    client = code.function(parse)
    server = code.function(parse)
    code.function(parse)
    code.finish()
    names = {"SSL_do_handshake": parse, "OPENSSL_init_ssl": parse, "d2i_X509": parse}
    names |= {"tls_process_server_certificate.part.0": client, "tls_process_client_certificate": server}
    elf.symbols(".symtab", SYMTAB, 0, [(name, address, 32) for name, address in names.items()])
    return elf.finish()


def boringssl():
    elf = Elf(X86_64)
    code = Code(elf)
    here = code.function()
    code.finish()
    names = ["SSL_do_handshake", "OPENSSL_init_ssl", "d2i_X509", "SSL_CTX_set_custom_verify"]
    elf.symbols(".dynsym", DYNSYM, ALLOC, [(name, here, 1) for name in names])
    return elf.finish()


def gnutls(called):
    """places: second instruction of the second function, else the first function."""
    elf = Elf(X86_64)
    code = Code(elf)
    parse = code.function()
    raw = code.function(parse)
    code.function(*([raw] if called else []))
    exported = code.function(parse)
    code.finish()
    names = [("gnutls_handshake", exported, 32), ("gnutls_x509_crt_import", parse, 32), ("gnutls_pcert_import_x509_raw", raw, 32)]
    elf.symbols(".dynsym", DYNSYM, ALLOC, names)
    frames(elf, code.functions)
    return elf.finish()


GO = [
    "runtime.main",
    "crypto/tls.(*Config).writeKeyLog",
    "crypto/tls.(*Conn).verifyServerCertificate",
    "crypto/tls.(*clientHandshakeStateTLS13).establishHandshakeKeys",
    "vendored/crypto/tls.(*Conn).verifyServerCertificate",
    "crypto/tls.(*Conn).processCertsFromClient",
    "crypto/tls.(*serverHandshakeStateTLS13).sendServerParameters",
]


def go(machine, magic, stack=False, names=GO, prologue=None, before=0, section=".gopclntab"):
    """Functions of 64 bytes each; the last five bytes or the last word but one of those that derive keys is a call."""
    elf = Elf(machine)
    elf.add(".go.buildinfo", PROGBITS, DATA, b"\xff Go buildinf:\x08\x02" + bytes(16))
    text = elf.at() + before
    code = Code(elf)
    body = bytearray(b"\x90" * before)
    for index, name in enumerate(names):
        start = text + 64 * index
        if machine == X86_64:
            prologue = bytes.fromhex("64488b0c25f8ffffff") if stack else bytes.fromhex("493b6610")
            nop = b"\x90"
        else:
            prologue = bytes.fromhex("810b40f9" if stack else "900b40f9")
            nop = b"\x1f\x20\x03\xd5"
        function = bytearray(prologue)
        function += nop * ((32 - len(function)) // len(nop))
        if "Handshake" in name:
            for _ in range(2):
                function += code.call(start + len(function), text + 64)
        function += nop * ((64 - len(function)) // len(nop))
        body += function
    elf.add(".text", PROGBITS, CODE, bytes(body))
    table_names, offsets = bytearray(b"\0"), []
    for name in names:
        offsets.append(len(table_names))
        table_names += name.encode() + b"\0"
    new = magic >= 0xFFFFFFF0 and magic != 0xFFFFFFFA and magic != 0xFFFFFFFB
    header = 72 if new else 64
    list_at = header + len(table_names) + -(header + len(table_names)) % 8
    width, form = (4, "<I") if new else (8, "<Q")
    base = 0 if new else text
    functions, details = bytearray(), bytearray()
    list_size = (2 * len(names) + 1) * width
    list_size += -list_size % 8
    for index, offset in enumerate(offsets):
        functions += struct.pack(form, base + 64 * index) + struct.pack(form, list_size + len(details))
        details += struct.pack(form, base + 64 * index) + struct.pack("<I", offset) + bytes(28)
    functions += struct.pack(form, base + 64 * len(names))
    functions += bytes(list_size - len(functions))
    fields = [len(names), 1] + ([0] if new else []) + [header, header + len(table_names), list_at, list_at, list_at]
    table = struct.pack("<IBBBB", magic, 0, 0, 1 if machine == X86_64 else 4, 8) + struct.pack(f"<{len(fields)}Q", *fields)
    table += bytes(header - len(table)) + table_names
    table += bytes(list_at - len(table)) + functions + details
    address = elf.add(section, PROGBITS, ALLOC, bytes(table))
    if before:
        # runtime.moduledata, as far as it is read.
        elf.add(".noptrdata", PROGBITS, DATA, struct.pack("<QQ", address, address + header) + bytes(160) + struct.pack("<Q", text))
    return elf.finish()


def texts(*texts):
    elf = Elf(X86_64)
    elf.add(".rodata", PROGBITS, ALLOC, b"\0".join([b"", *texts, b""]))
    return elf.finish()


OPENSSL = [b"../ssl/statem/statem_clnt.c", b"../ssl/statem/statem_srvr.c"]
BORINGSSL = [b"third_party/boringssl/ssl/tls13_both.cc", b"third_party/boringssl/ssl/ssl_lib.cc"]
RUSTLS = [b"cannot decrypt peer's messageinvalid peer certificate: received corrupt message"]
MBEDTLS = [b"TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256", b"TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"]
WOLFSSL = [b"malformed buffer input error", b"subject name mismatch"]


def main():
    out = HERE / "elf"
    out.mkdir(exist_ok=True)
    seeds = {
        "openssl_shared": openssl_shared(X86_64),
        "openssl_shared_aarch64": openssl_shared(AARCH64),
        "openssl_static": openssl_static(),
        "boringssl": boringssl(),
        "gnutls": gnutls(True),
        "gnutls_uncalled": gnutls(False),
        "go120": go(X86_64, 0xFFFFFFF1),
        "go120_aarch64": go(AARCH64, 0xFFFFFFF1),
        "go118_moduledata": go(X86_64, 0xFFFFFFF0, before=0x60, section=".data.rel.ro"),
        "go117": go(X86_64, 0xFFFFFFFA),
        "go116": go(X86_64, 0xFFFFFFFA, stack=True),
        "go115": go(X86_64, 0xFFFFFFFB, stack=True),
        "text_openssl": texts(*OPENSSL),
        "text_boringssl": texts(*BORINGSSL),
        "text_rustls": texts(*RUSTLS),
        "text_mbedtls": texts(*MBEDTLS),
        "text_wolfssl": texts(*WOLFSSL),
        "text_mentions": texts(b" or ".join(OPENSSL + BORINGSSL + MBEDTLS + WOLFSSL) + b", that is", RUSTLS[0][:30]),
        "go_without_tls": go(X86_64, 0xFFFFFFF1, names=GO[:2]),
    }
    for name, seed in seeds.items():
        (out / name).write_bytes(seed)


main()
