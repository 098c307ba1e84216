//! Key exchange groups.

use super::codepoint;

codepoint! {
    /// A key exchange group (IANA "TLS Supported Groups").
    pub struct NamedGroup(u16);
    SECT163K1 = 0x0001 => "sect163k1",
    SECT163R1 = 0x0002 => "sect163r1",
    SECT163R2 = 0x0003 => "sect163r2",
    SECT193R1 = 0x0004 => "sect193r1",
    SECT193R2 = 0x0005 => "sect193r2",
    SECT233K1 = 0x0006 => "sect233k1",
    SECT233R1 = 0x0007 => "sect233r1",
    SECT239K1 = 0x0008 => "sect239k1",
    SECT283K1 = 0x0009 => "sect283k1",
    SECT283R1 = 0x000A => "sect283r1",
    SECT409K1 = 0x000B => "sect409k1",
    SECT409R1 = 0x000C => "sect409r1",
    SECT571K1 = 0x000D => "sect571k1",
    SECT571R1 = 0x000E => "sect571r1",
    SECP160K1 = 0x000F => "secp160k1",
    SECP160R1 = 0x0010 => "secp160r1",
    SECP160R2 = 0x0011 => "secp160r2",
    SECP192K1 = 0x0012 => "secp192k1",
    SECP192R1 = 0x0013 => "secp192r1",
    SECP224K1 = 0x0014 => "secp224k1",
    SECP224R1 = 0x0015 => "secp224r1",
    SECP256K1 = 0x0016 => "secp256k1",
    SECP256R1 = 0x0017 => "secp256r1",
    SECP384R1 = 0x0018 => "secp384r1",
    SECP521R1 = 0x0019 => "secp521r1",
    BRAINPOOLP256R1 = 0x001A => "brainpoolP256r1",
    BRAINPOOLP384R1 = 0x001B => "brainpoolP384r1",
    BRAINPOOLP512R1 = 0x001C => "brainpoolP512r1",
    X25519 = 0x001D => "x25519",
    X448 = 0x001E => "x448",
    BRAINPOOLP256R1TLS13 = 0x001F => "brainpoolP256r1tls13",
    BRAINPOOLP384R1TLS13 = 0x0020 => "brainpoolP384r1tls13",
    BRAINPOOLP512R1TLS13 = 0x0021 => "brainpoolP512r1tls13",
    GC256A = 0x0022 => "GC256A",
    GC256B = 0x0023 => "GC256B",
    GC256C = 0x0024 => "GC256C",
    GC256D = 0x0025 => "GC256D",
    GC512A = 0x0026 => "GC512A",
    GC512B = 0x0027 => "GC512B",
    GC512C = 0x0028 => "GC512C",
    CURVE_SM2 = 0x0029 => "curveSM2",
    FFDHE2048 = 0x0100 => "ffdhe2048",
    FFDHE3072 = 0x0101 => "ffdhe3072",
    FFDHE4096 = 0x0102 => "ffdhe4096",
    FFDHE6144 = 0x0103 => "ffdhe6144",
    FFDHE8192 = 0x0104 => "ffdhe8192",
    MLKEM512 = 0x0200 => "MLKEM512",
    MLKEM768 = 0x0201 => "MLKEM768",
    MLKEM1024 = 0x0202 => "MLKEM1024",
    SECP256R1_MLKEM768 = 0x11EB => "SecP256r1MLKEM768",
    X25519_MLKEM768 = 0x11EC => "X25519MLKEM768",
    SECP384R1_MLKEM1024 = 0x11ED => "SecP384r1MLKEM1024",
    CURVE_SM2_MLKEM768 = 0x11EE => "curveSM2MLKEM768",
    X25519_KYBER768_DRAFT00 = 0x6399 => "X25519Kyber768Draft00",
    SECP256R1_KYBER768_DRAFT00 = 0x639A => "SecP256r1Kyber768Draft00",
    ARBITRARY_EXPLICIT_PRIME_CURVES = 0xFF01 => "arbitrary_explicit_prime_curves",
    ARBITRARY_EXPLICIT_CHAR2_CURVES = 0xFF02 => "arbitrary_explicit_char2_curves",
}

impl NamedGroup {
    /// Does the group withstand a quantum computer (ML-KEM or its drafts, alone or in a hybrid)?
    pub const fn is_post_quantum(self) -> bool {
        matches!(self.0, 0x0200..=0x0202 | 0x11EB..=0x11EE | 0x6399 | 0x639A)
    }
}
