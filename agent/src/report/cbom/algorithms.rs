//! Algorithms as CycloneDX describes them. Security levels are given where somebody defined them: NIST's categories 1 to 5
//! (FIPS 203 to 205, and the call for proposals of 2016 for AES and SHA-2), 0 for what a quantum computer breaks.

use serde_json::{Value, json};

use super::set;

/// An algorithm, with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Algorithm {
    pub(super) name: String,
    primitive: &'static str,
    parameter_set: Option<String>,
    curve: Option<String>,
    mode: Option<&'static str>,
    functions: &'static [&'static str],
    /// NIST's category.
    quantum: Option<u8>,
    /// Names of the groups that a hybrid combines.
    parts: Vec<String>,
    oid: Option<&'static str>,
}

impl Algorithm {
    /// As a component of this reference.
    pub(super) fn component(&self, reference: &str) -> Value {
        let mut properties = json!({"primitive": self.primitive});
        let mut some = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                set(&mut properties, key, value);
            }
        };
        some("parameterSetIdentifier", self.parameter_set.clone().map(Value::from));
        some("curve", self.curve.clone().map(Value::from));
        some("mode", self.mode.map(Value::from));
        some("cryptoFunctions", (!self.functions.is_empty()).then(|| json!(self.functions)));
        some("nistQuantumSecurityLevel", self.quantum.map(Value::from));
        let mut crypto = json!({"assetType": "algorithm", "algorithmProperties": properties});
        if let Some(oid) = self.oid {
            set(&mut crypto, "oid", oid);
        }
        json!({
            "type": "cryptographic-asset",
            "bom-ref": reference,
            "name": self.name,
            "cryptoProperties": crypto,
        })
    }

    /// What a hybrid combines.
    pub(super) fn parts(&self) -> Vec<Algorithm> {
        self.parts.iter().map(|part| group(part)).collect()
    }
}

const KEM: &[&str] = &["keygen", "encapsulate", "decapsulate"];
const AGREE: &[&str] = &["keygen", "keyderive"];
const SIGN: &[&str] = &["keygen", "sign", "verify"];
const VERIFY: &[&str] = &["sign", "verify"];
const ENCRYPT: &[&str] = &["encrypt", "decrypt"];
const AUTHENTICATED: &[&str] = &["encrypt", "decrypt", "tag"];

/// A key exchange group, by its IANA name.
pub(super) fn group(name: &str) -> Algorithm {
    let named = |primitive, functions, quantum| Algorithm {
        name: name.to_owned(),
        primitive,
        functions,
        quantum,
        ..Algorithm::default()
    };
    let hybrid = |classical: &str, kem: &str, quantum| Algorithm {
        parts: vec![classical.to_owned(), kem.to_owned()],
        ..named("combiner", KEM, quantum)
    };
    // FIPS 203 section 8: categories 1, 3 and 5. The drafts of Kyber were never given one.
    match name {
        "MLKEM512" => Algorithm { parameter_set: Some("512".into()), ..named("kem", KEM, Some(1)) },
        "MLKEM768" => Algorithm { parameter_set: Some("768".into()), ..named("kem", KEM, Some(3)) },
        "MLKEM1024" => Algorithm { parameter_set: Some("1024".into()), ..named("kem", KEM, Some(5)) },
        "SecP256r1MLKEM768" => hybrid("secp256r1", "MLKEM768", Some(3)),
        "X25519MLKEM768" => hybrid("x25519", "MLKEM768", Some(3)),
        "SecP384r1MLKEM1024" => hybrid("secp384r1", "MLKEM1024", Some(5)),
        "curveSM2MLKEM768" => hybrid("curveSM2", "MLKEM768", Some(3)),
        "X25519Kyber768Draft00" | "SecP256r1Kyber768Draft00" => named("combiner", KEM, None),
        _ if name.starts_with("0x") => named("unknown", &[], None),
        _ => match name.strip_prefix("ffdhe") {
            Some(bits) => {
                Algorithm { parameter_set: Some(bits.to_owned()), ..named("key-agree", AGREE, Some(0)) }
            }
            None => Algorithm { curve: Some(name.to_owned()), ..named("key-agree", AGREE, Some(0)) },
        },
    }
}

/// How a certificate is signed.
pub(super) fn signature(name: &str) -> Algorithm {
    let oid = match name {
        "sha1WithRSAEncryption" => Some("1.2.840.113549.1.1.5"),
        "sha256WithRSAEncryption" => Some("1.2.840.113549.1.1.11"),
        "sha384WithRSAEncryption" => Some("1.2.840.113549.1.1.12"),
        "sha512WithRSAEncryption" => Some("1.2.840.113549.1.1.13"),
        "rsassaPss" => Some("1.2.840.113549.1.1.10"),
        "ecdsa-with-SHA256" => Some("1.2.840.10045.4.3.2"),
        "ecdsa-with-SHA384" => Some("1.2.840.10045.4.3.3"),
        "ecdsa-with-SHA512" => Some("1.2.840.10045.4.3.4"),
        "Ed25519" => Some("1.3.101.112"),
        "Ed448" => Some("1.3.101.113"),
        _ => None,
    };
    Algorithm {
        name: name.to_owned(),
        primitive: "signature",
        functions: VERIFY,
        quantum: quantum_of_signature(name),
        oid,
        ..Algorithm::default()
    }
}

/// The key of a certificate: `EC`, `EC P-256`, `P-256`.
pub(super) fn key(algorithm: &str, name: &str, curve: Option<&str>) -> Algorithm {
    let size = name.strip_prefix(algorithm).map(str::trim).filter(|size| curve.is_none() && !size.is_empty());
    let primitive = match algorithm {
        // They are used to sign, whatever else they could do.
        "RSA" | "RSA-PSS" | "EC" | "DSA" | "Ed25519" | "Ed448" => "signature",
        _ if quantum_of_signature(algorithm).is_some() => "signature",
        "DH" | "X25519" | "X448" => "key-agree",
        "RSA-OAEP" => "pke",
        _ => "unknown",
    };
    Algorithm {
        name: name.replace(' ', "-"),
        primitive,
        parameter_set: size.map(str::to_owned),
        curve: curve.map(str::to_owned),
        functions: if primitive == "signature" { SIGN } else { &[] },
        quantum: match algorithm {
            "RSA" | "RSA-PSS" | "RSA-OAEP" | "EC" | "DSA" | "DH" | "X25519" | "X448" => Some(0),
            _ => quantum_of_signature(algorithm),
        },
        ..Algorithm::default()
    }
}

/// FIPS 204 table 1 and FIPS 205 table 2.
fn quantum_of_signature(name: &str) -> Option<u8> {
    match name {
        "ML-DSA-44" => return Some(2),
        "ML-DSA-65" => return Some(3),
        "ML-DSA-87" => return Some(5),
        "Ed25519" | "Ed448" => return Some(0),
        _ => {}
    }
    if name.starts_with("SLH-DSA-") {
        let of = [("-128", 1), ("-192", 3), ("-256", 5)];
        return of.into_iter().find(|(bits, _)| name.contains(bits)).map(|(_, category)| category);
    }
    let lower = name.to_ascii_lowercase();
    ["rsa", "dsa", "sm2"].iter().any(|broken| lower.contains(broken)).then_some(0)
}

/// A word in the first half of a suite's name: `ECDHE`, `RSA`.
pub(super) fn exchange_word(word: &str) -> Option<Algorithm> {
    let (primitive, functions, quantum): (_, &'static [&'static str], _) = match word {
        "ECDHE" | "ECDH" | "DHE" | "DH" | "SRP" | "ECCPWD" | "GOSTR341112" => ("key-agree", AGREE, Some(0)),
        "RSA" => ("pke", &["encrypt", "decrypt", "sign", "verify"], Some(0)),
        "ECDSA" | "DSS" => ("signature", VERIFY, Some(0)),
        "PSK" | "KRB5" => ("other", &[], None),
        _ => return None,
    };
    Some(Algorithm { name: word.to_owned(), primitive, functions, quantum, ..Algorithm::default() })
}

/// The hashes that suites end in.
pub(super) fn is_hash(word: &str) -> bool {
    matches!(word, "MD5" | "SHA" | "SHA256" | "SHA384" | "SHA512" | "SM3")
}

/// One of them.
pub(super) fn hash(word: &str) -> Algorithm {
    let (name, size, quantum) = match word {
        "SHA" => ("SHA-1", Some("160"), None),
        "SHA256" => ("SHA-256", Some("256"), Some(2)),
        "SHA384" => ("SHA-384", Some("384"), Some(4)),
        "SHA512" => ("SHA-512", Some("512"), None),
        other => (other, None, None),
    };
    Algorithm {
        name: name.to_owned(),
        primitive: "hash",
        parameter_set: size.map(str::to_owned),
        functions: &["digest"],
        quantum,
        ..Algorithm::default()
    }
}

/// The cipher of a suite: `AES_128_GCM`; none where there is none.
pub(super) fn cipher(words: &str) -> Option<Algorithm> {
    if words == "NULL" || is_hash(words) {
        return None;
    }
    let name = match words {
        "CHACHA20_POLY1305" => "ChaCha20-Poly1305".to_owned(),
        _ => words.replace('_', "-"),
    };
    let mode = match words {
        _ if words.contains("GCM") => Some("gcm"),
        _ if words.contains("CCM") => Some("ccm"),
        _ if words.contains("CBC") => Some("cbc"),
        _ if words.contains("CTR") || words.contains("CNT") => Some("ctr"),
        _ => None,
    };
    let is_authenticated = matches!(mode, Some("gcm" | "ccm")) || words.contains("POLY1305");
    let size = ["128", "192", "256"].into_iter().find(|size| words.split('_').any(|word| word == *size));
    let (primitive, functions) = match () {
        () if is_authenticated => ("ae", AUTHENTICATED),
        () if words.contains("RC4") => ("stream-cipher", ENCRYPT),
        () => ("block-cipher", ENCRYPT),
    };
    // The categories are defined by key search on AES; nobody assigned one to other ciphers.
    let quantum = match size.filter(|_| words.starts_with("AES_")) {
        Some("128") => Some(1),
        Some("192") => Some(3),
        Some(_) => Some(5),
        None => None,
    };
    Some(Algorithm {
        name,
        primitive,
        parameter_set: size.map(str::to_owned),
        mode,
        functions,
        quantum,
        ..Algorithm::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_given_where_somebody_defined_them() {
        let quantum = |algorithm: Option<Algorithm>| algorithm.and_then(|a| a.quantum);
        assert_eq!(quantum(Some(group("X25519MLKEM768"))), Some(3));
        assert_eq!(quantum(Some(group("x25519"))), Some(0));
        assert_eq!(quantum(Some(group("X25519Kyber768Draft00"))), None);
        assert_eq!(quantum(Some(group("0xBEEF"))), None);
        assert_eq!(quantum(cipher("AES_256_GCM")), Some(5));
        assert_eq!(quantum(cipher("CHACHA20_POLY1305")), None);
        assert_eq!(quantum(Some(signature("ecdsa-with-SHA256"))), Some(0));
        assert_eq!(quantum(Some(signature("ML-DSA-65"))), Some(3));
        assert_eq!(quantum(Some(signature("SLH-DSA-SHA2-192s"))), Some(3));
        assert_eq!(quantum(Some(signature("1.2.3"))), None);
        assert_eq!(quantum(Some(key("EC", "EC P-256", Some("P-256")))), Some(0));
    }

    #[test]
    fn hybrids_combine_two() {
        let parts: Vec<String> = group("X25519MLKEM768").parts().into_iter().map(|part| part.name).collect();
        assert_eq!(parts, ["x25519", "MLKEM768"]);
    }

    #[test]
    fn keys_have_their_size_or_curve() {
        let rsa = key("RSA", "RSA 2048", None);
        assert_eq!((rsa.name.as_str(), rsa.parameter_set.as_deref()), ("RSA-2048", Some("2048")));
        let ec = key("EC", "EC P-256", Some("P-256"));
        assert_eq!(
            (ec.name.as_str(), ec.curve.as_deref(), ec.parameter_set),
            ("EC-P-256", Some("P-256"), None)
        );
    }
}
