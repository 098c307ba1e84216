//! What a client program itself says of its connection: the oracle beside the expected verdict.

use serde_json::Value;

/// A client's own words about one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `1.2` or `1.3`.
    pub version: Option<String>,
    /// IANA name of the cipher suite.
    pub cipher: Option<String>,
    /// IANA name of the group, where the program tells.
    pub group: Option<String>,
    /// ALPN protocol chosen.
    pub alpn: Option<String>,
    /// Session resumed, where the program tells.
    pub resumed: Option<bool>,
    /// The response that came back.
    pub body: String,
    /// Why there is no connection.
    pub error: Option<String>,
}

impl Said {
    /// One line of JSON, as the peer programs of this package print it.
    pub(crate) fn from_json(line: &str) -> Option<Said> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text =
            |key: &str| value.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
        Some(Said {
            version: text("version"),
            cipher: text("cipher").map(|c| iana_cipher(&c)),
            group: text("group").map(|g| iana_group(&g)),
            alpn: text("alpn"),
            resumed: value.get("resumed").and_then(Value::as_bool),
            body: text("body").unwrap_or_default(),
            error: text("error"),
        })
    }

    /// What `openssl s_client` prints.
    pub fn from_s_client(text: &str) -> Said {
        let mut said = Said { body: text.to_owned(), ..Said::default() };
        for line in text.lines().map(str::trim) {
            if let Some((kind, rest)) =
                line.split_once(", TLSv").filter(|(k, _)| *k == "New" || *k == "Reused")
            {
                said.resumed = Some(kind == "Reused");
                if let Some((_, cipher)) = rest.split_once(", Cipher is ") {
                    said.cipher = Some(iana_cipher(cipher));
                }
            } else if let Some(version) = line.strip_prefix("Protocol  : TLSv") {
                said.version = Some(version.to_owned());
            } else if let Some(cipher) = line.strip_prefix("Cipher    : ").filter(|c| !c.starts_with("0000"))
            {
                // Of a session whose handshake failed there is only this.
                said.cipher.get_or_insert_with(|| iana_cipher(cipher));
            } else if let Some(key) = line.strip_prefix("Server Temp Key: ") {
                let key = key.strip_prefix("ECDH, ").unwrap_or(key);
                said.group = key.split(',').next().map(iana_group);
            } else if let Some(alpn) = line.strip_prefix("ALPN protocol: ") {
                said.alpn = Some(alpn.to_owned());
            }
        }
        // "New, TLSv1.3, Cipher is ..." comes in every version; "Protocol" only with a session that was printed.
        if said.version.is_none() {
            said.version = text.contains(", TLSv1.3, Cipher is").then(|| "1.3".to_owned());
        }
        said.error = text
            .lines()
            .find(|l| l.contains("SSL routines") || l.contains("verify error"))
            .map(str::to_owned);
        said
    }

    /// What `curl --verbose` prints.
    pub fn from_curl(text: &str) -> Said {
        let mut said = Said { body: text.to_owned(), ..Said::default() };
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("SSL connection using TLSv")
                && let Some((version, cipher)) = rest.split_once(" / ")
            {
                said.version = Some(version.to_owned());
                said.cipher = Some(iana_cipher(cipher.trim()));
            } else if let Some((_, alpn)) = line.split_once("ALPN: server accepted ") {
                said.alpn = Some(alpn.trim().to_owned());
            } else if line.starts_with("curl: (") {
                said.error = Some(line.to_owned());
            }
        }
        said
    }

    /// What `gnutls-cli` prints.
    pub(crate) fn from_gnutls(text: &str) -> Said {
        let mut said = Said { body: text.to_owned(), ..Said::default() };
        for line in text.lines() {
            if let Some(description) = line.strip_prefix("- Description: (TLS") {
                said.describe_gnutls(description);
            } else if let Some(alpn) = line.strip_prefix("- Application protocol: ") {
                said.alpn = Some(alpn.to_owned());
            } else if line.contains("This is a resumed session") {
                said.resumed = Some(true);
            } else if line.starts_with("*** Fatal error") || line.contains("Received alert") {
                said.error = Some(line.to_owned());
            }
        }
        if said.body.contains("200 OK") {
            // JSSE ends a TLS 1.3 connection with user_canceled before its close_notify, which this client calls fatal.
            said.error = None;
        }
        said
    }

    /// `1.3-X.509)-(ECDHE-SECP256R1)-(ECDSA-SECP256R1-SHA256)-(AES-256-GCM)`.
    fn describe_gnutls(&mut self, description: &str) {
        let parts: Vec<&str> = description.trim_end_matches(')').split(")-(").collect();
        let version = parts[0].split('-').next().unwrap_or_default();
        self.version = Some(version.to_owned());
        self.group = parts.get(1).and_then(|k| k.split_once("ECDHE-")).map(|(_, g)| iana_group(g));
        let hash = |cipher: &str| if cipher.contains("256-GCM") { "SHA384" } else { "SHA256" };
        let Some(cipher) = parts.last() else { return };
        let name = cipher.replace('-', "_");
        self.cipher = match version {
            "1.3" => Some(format!("TLS_{name}_{}", hash(cipher))),
            _ => {
                let signature = if parts.get(2).is_some_and(|s| s.contains("RSA")) { "RSA" } else { "ECDSA" };
                Some(format!("TLS_ECDHE_{signature}_WITH_{name}_{}", hash(cipher)))
            }
        };
    }
}

/// IANA's name of a cipher suite from OpenSSL's, Go's (mostly IANA's already) or rustls'.
pub fn iana_cipher(name: &str) -> String {
    let name = name.trim();
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    if name.starts_with("TLS_") {
        return name.to_owned();
    }
    match name {
        "ECDHE-RSA-AES256-GCM-SHA384" => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384" => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256" => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256" => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "AES256-GCM-SHA384" => "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "AES128-SHA" => "TLS_RSA_WITH_AES_128_CBC_SHA",
        "DHE-RSA-AES256-GCM-SHA384" => "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        other => panic!("no IANA name known here for cipher {other}"),
    }
    .to_owned()
}

/// IANA's name of a group from the name a library prints.
fn iana_group(name: &str) -> String {
    match name {
        "X25519" | "x25519" => "x25519",
        "P-256" | "CurveP256" | "prime256v1" | "SECP256R1" | "secp256r1" => "secp256r1",
        "P-384" | "CurveP384" | "SECP384R1" | "secp384r1" => "secp384r1",
        "P-521" | "CurveP521" | "SECP521R1" | "secp521r1" => "secp521r1",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gnutls_descriptions_become_iana_names() {
        let said =
            Said::from_gnutls("- Description: (TLS1.2-X.509)-(ECDHE-SECP256R1)-(RSA-SHA256)-(AES-256-GCM)\n");
        assert_eq!(said.version.as_deref(), Some("1.2"));
        assert_eq!(said.cipher.as_deref(), Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        assert_eq!(said.group.as_deref(), Some("secp256r1"));
    }
}
