//! Protocol versions.

use super::codepoint;

codepoint! {
    /// A protocol version as it stands on the wire. SSL 2.0 is 0x0002 there, not 0x0200.
    pub struct ProtocolVersion(u16);
    SSL_2_0 = 0x0002 => "SSL 2.0",
    SSL_3_0 = 0x0300 => "SSL 3.0",
    TLS_1_0 = 0x0301 => "TLS 1.0",
    TLS_1_1 = 0x0302 => "TLS 1.1",
    TLS_1_2 = 0x0303 => "TLS 1.2",
    TLS_1_3 = 0x0304 => "TLS 1.3",
}

impl ProtocolVersion {
    /// OpenTelemetry's `tls.protocol.name`: `ssl` or `tls`; absent for a version that is not known here.
    pub const fn otel_name(self) -> Option<&'static str> {
        match self {
            Self::SSL_2_0 | Self::SSL_3_0 => Some("ssl"),
            Self::TLS_1_0 | Self::TLS_1_1 | Self::TLS_1_2 | Self::TLS_1_3 => Some("tls"),
            _ => None,
        }
    }

    /// OpenTelemetry's `tls.protocol.version`: `1.3`, or `3` for SSL 3.0; absent for a version that is not known here.
    pub const fn otel_version(self) -> Option<&'static str> {
        match self {
            Self::SSL_2_0 => Some("2"),
            Self::SSL_3_0 => Some("3"),
            Self::TLS_1_0 => Some("1.0"),
            Self::TLS_1_1 => Some("1.1"),
            Self::TLS_1_2 => Some("1.2"),
            Self::TLS_1_3 => Some("1.3"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_opentelemetry() {
        let otel = |version: ProtocolVersion| (version.otel_name(), version.otel_version());
        assert_eq!(otel(ProtocolVersion(0x0304)), (Some("tls"), Some("1.3")));
        assert_eq!(otel(ProtocolVersion(0x0301)), (Some("tls"), Some("1.0")));
        assert_eq!(otel(ProtocolVersion(0x0300)), (Some("ssl"), Some("3")));
        assert_eq!(otel(ProtocolVersion(0x0002)), (Some("ssl"), Some("2")));
        assert_eq!(otel(ProtocolVersion(0x7F1C)), (None, None));
    }
}
