//! The signed parts of a certificate, and whether a signature is right. Old algorithms are verified too: that they are weak
//! is another question than whether the signature is the issuer's.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

use super::der::{BIT_STRING, INTEGER, Reader, SEQUENCE, Tlv};

/// A signature algorithm of *ring*.
#[derive(Debug)]
struct Algorithm {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: &'static dyn VerificationAlgorithm,
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.verify, key).verify(message, signature).map_err(|_| InvalidSignature)
    }
}

/// sha1WithRSAEncryption (1.2.840.113549.1.1.5) with its NULL parameter.
const RSA_PKCS1_SHA1: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
]);

macro_rules! algorithms {
    ($(($key:expr, $signature:expr, $verify:ident),)*) => {
        /// Every algorithm that signatures of certificates can be verified with here. P-521, Ed448 and ML-DSA are not
        /// among them: what they signed is not judged.
        pub(crate) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
            $(&Algorithm { key: $key, signature: $signature, verify: &signature::$verify },)*
        ];
    };
}

algorithms! {
    (alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, ECDSA_P256_SHA256_ASN1),
    (alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, ECDSA_P256_SHA384_ASN1),
    (alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, ECDSA_P384_SHA256_ASN1),
    (alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, ECDSA_P384_SHA384_ASN1),
    (alg_id::ED25519, alg_id::ED25519, ED25519),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA384, RSA_PKCS1_2048_8192_SHA384),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA512, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
    (alg_id::RSA_ENCRYPTION, RSA_PKCS1_SHA1, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, RSA_PSS_2048_8192_SHA256),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, RSA_PSS_2048_8192_SHA384),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, RSA_PSS_2048_8192_SHA512),
}

/// Is a signature right?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureCheck {
    /// Yes.
    Good,
    /// No.
    Bad,
    /// The algorithm, or a key of this size, cannot be verified here.
    Unsupported,
}

/// A public key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublicKey<'a> {
    /// Contents of its AlgorithmIdentifier.
    algorithm: &'a [u8],
    /// The key's bits.
    pub(crate) bits: &'a [u8],
    /// Size of an RSA modulus in bytes, leading zeros included; 0 for other keys.
    modulus: usize,
}

impl<'a> PublicKey<'a> {
    fn read(info: Tlv<'a>) -> Option<Self> {
        let mut parts = Reader::new(info.body);
        let algorithm = parts.next_if(SEQUENCE)?.body;
        let bits = bit_string(parts.next_if(BIT_STRING)?)?;
        let modulus = if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
            let numbers = Reader::new(bits).next_if(SEQUENCE)?;
            Reader::new(numbers.body).next_if(INTEGER)?.body.len()
        } else {
            0
        };
        Some(Self { algorithm, bits, modulus })
    }

    /// Verifies what is signed with it.
    pub(crate) fn verify(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> SignatureCheck {
        // Bounds of ring: 1024 bits with SHA-1, SHA-256 and SHA-512, else 2048; 8192 bits at most.
        const SMALLEST: usize = 128;
        const ORDINARY: usize = 256;
        let fitting = ALGORITHMS.iter().find(|known| {
            known.signature_alg_id().as_ref() == algorithm
                && known.public_key_alg_id().as_ref() == self.algorithm
        });
        let Some(fitting) = fitting else { return SignatureCheck::Unsupported };
        match fitting.verify_signature(self.bits, message, signature) {
            Ok(()) => SignatureCheck::Good,
            Err(_) if self.modulus != 0 && !(SMALLEST..=1025).contains(&self.modulus) => {
                SignatureCheck::Unsupported
            }
            Err(_)
                if self.modulus != 0
                    && self.modulus < ORDINARY
                    && algorithm == alg_id::RSA_PKCS1_SHA384.as_ref() =>
            {
                SignatureCheck::Unsupported
            }
            Err(_) => SignatureCheck::Bad,
        }
    }
}

/// What is needed of a certificate to verify signatures and to name it in OCSP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The signed part, as it is.
    tbs: &'a [u8],
    /// Contents of the AlgorithmIdentifier of the signature.
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// Serial number, contents of the INTEGER.
    pub(crate) serial: &'a [u8],
    /// Issuer's name, the whole element.
    pub(crate) issuer: &'a [u8],
    /// Subject's name, the whole element.
    pub(crate) subject: &'a [u8],
    /// Subject's public key.
    pub(crate) key: PublicKey<'a>,
}

impl<'a> Signed<'a> {
    /// Reads a DER certificate.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut parts = Reader::new(Reader::new(der).next_if(SEQUENCE)?.body);
        let tbs = parts.next_if(SEQUENCE)?;
        let algorithm = parts.next_if(SEQUENCE)?.body;
        let signature = bit_string(parts.next_if(BIT_STRING)?)?;
        let mut fields = Reader::new(tbs.body);
        let _version = fields.next_if(0xa0);
        let serial = fields.next_if(INTEGER)?.body;
        fields.next_if(SEQUENCE)?;
        let issuer = fields.next_if(SEQUENCE)?.raw;
        fields.next_if(SEQUENCE)?;
        let subject = fields.next_if(SEQUENCE)?.raw;
        let key = PublicKey::read(fields.next_if(SEQUENCE)?)?;
        Some(Self { tbs: tbs.raw, algorithm, signature, serial, issuer, subject, key })
    }

    /// Did the owner of this key sign it?
    pub(crate) fn signed_by(&self, key: &PublicKey<'_>) -> SignatureCheck {
        key.verify(self.algorithm, self.tbs, self.signature)
    }

    /// Did it sign itself?
    pub(crate) fn signed_itself(&self) -> SignatureCheck {
        if self.issuer == self.subject { self.signed_by(&self.key) } else { SignatureCheck::Bad }
    }
}

/// A BIT STRING of whole octets.
fn bit_string(tlv: Tlv<'_>) -> Option<&[u8]> {
    match tlv.body.split_first()? {
        (0, octets) => Some(octets),
        _ => None,
    }
}

/// BasicOCSPResponse (RFC 6960 section 4.2.1): the signed part as it is, the contents of the signature's
/// AlgorithmIdentifier, the signature, and the certificates that came along.
pub(crate) struct SignedResponse<'a> {
    pub(crate) tbs: &'a [u8],
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) certificates: Vec<&'a [u8]>,
}

impl<'a> SignedResponse<'a> {
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        /// More than any responder sends.
        const MAX_CERTIFICATES: usize = 8;
        let mut parts = Reader::new(Reader::new(der).next_if(SEQUENCE)?.body);
        let tbs = parts.next_if(SEQUENCE)?.raw;
        let algorithm = parts.next_if(SEQUENCE)?.body;
        let signature = bit_string(parts.next_if(BIT_STRING)?)?;
        let mut certificates = Vec::new();
        if let Some(list) = parts.next_if(0xa0) {
            let mut list = Reader::new(Reader::new(list.body).next_if(SEQUENCE)?.body);
            while let Some(certificate) =
                list.next_if(SEQUENCE).filter(|_| certificates.len() < MAX_CERTIFICATES)
            {
                certificates.push(certificate.raw);
            }
        }
        Some(Self { tbs, algorithm, signature, certificates })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/x509").join(format!("{name}.der"));
        std::fs::read(path).expect("fixture")
    }

    #[test]
    fn tells_who_signed_and_what_cannot_be_verified() {
        let root = fixture("rsa_ca");
        let root = Signed::read(&root).expect("root");
        assert_eq!(root.signed_itself(), SignatureCheck::Good);
        let leaf = fixture("leaf");
        let leaf = Signed::read(&leaf).expect("leaf");
        assert_eq!(leaf.signed_itself(), SignatureCheck::Bad);
        assert_eq!(leaf.signed_by(&root.key), SignatureCheck::Good);
        for (name, want) in [
            ("p384", SignatureCheck::Good),
            ("ed25519", SignatureCheck::Good),
            ("p521", SignatureCheck::Unsupported),
            ("ed448", SignatureCheck::Unsupported),
            ("dsa", SignatureCheck::Unsupported),
            // Its modulus fills 128 bytes, which is what the bound counts.
            ("rsa_1023", SignatureCheck::Good),
        ] {
            let der = fixture(name);
            assert_eq!(Signed::read(&der).expect(name).signed_itself(), want, "{name}");
        }
    }

    #[test]
    fn a_changed_byte_of_what_is_signed_makes_a_bad_signature() {
        let mut der = fixture("p384");
        // Inside the serial number.
        der[18] ^= 1;
        assert_eq!(Signed::read(&der).expect("still DER").signed_itself(), SignatureCheck::Bad);
    }

    #[test]
    fn truncation_at_every_byte_is_refused() {
        let der = fixture("leaf");
        for end in 0..der.len() {
            assert!(Signed::read(&der[..end]).is_none(), "cut at {end}");
            assert!(SignedResponse::read(&der[..end]).is_none(), "cut at {end}");
        }
    }
}
