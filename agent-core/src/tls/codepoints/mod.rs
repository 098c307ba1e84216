//! Numbers that TLS gives a meaning to, as newtypes that keep values nobody has assigned yet. Names are IANA's.

mod alert;
mod cipher_suite;
mod extension;
mod group;
mod misc;
mod signature;
mod version;

pub use alert::{AlertDescription, AlertLevel};
pub use cipher_suite::{CipherSuite, KeyExchange};
pub use extension::ExtensionType;
pub use group::NamedGroup;
pub use misc::{
    CompressionMethod, ContentType, EcPointFormat, HandshakeType, PskKeyExchangeMode, Sslv2Cipher,
};
pub use signature::SignatureScheme;
pub use version::ProtocolVersion;

/// Is this two-byte value one of those a client offers only to keep servers tolerant (GREASE, RFC 8701 section 2):
/// 0x0A0A, 0x1A1A ... 0xFAFA?
pub const fn is_grease(value: u16) -> bool {
    value & 0x0F0F == 0x0A0A && value >> 8 == value & 0x00FF
}

/// Defines a codepoint newtype: constants, `name()`, and a `Display` that prints the name, or the number in hex.
macro_rules! codepoint {
    ($(#[$meta:meta])* pub struct $type:ident($repr:ty); $($constant:ident = $value:literal => $name:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub $repr);

        $(#[$meta])*
        impl $type {
            $(#[doc = concat!("`", $name, "` (", stringify!($value), ").")]
            pub const $constant: $type = $type($value);)*

            /// The IANA name, where the value has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)*
                    _ => None,
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "0x{:0width$X}", self.0, width = ::std::mem::size_of::<$repr>() * 2),
                }
            }
        }

        impl ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    };
}
use codepoint;

/// Gives a two-byte codepoint type its `is_grease`.
macro_rules! greasable {
    ($($type:ident),*) => {
        $(impl $type {
            /// Offered only to keep servers tolerant (RFC 8701).
            pub const fn is_grease(self) -> bool {
                is_grease(self.0)
            }
        })*
    };
}
greasable!(CipherSuite, ExtensionType, NamedGroup, ProtocolVersion, SignatureScheme);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_the_sixteen_values_of_rfc_8701() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|value| is_grease(*value)).collect();
        let expected: Vec<u16> = (0..16).map(|n| n << 12 | 0x0A00 | n << 4 | 0x000A).collect();
        assert_eq!(grease, expected);
    }

    #[test]
    fn unknown_values_are_kept_and_printed_in_hex_of_their_width() {
        assert_eq!(NamedGroup(0x6399).to_string(), "X25519Kyber768Draft00");
        assert_eq!(NamedGroup(0xBEEF).to_string(), "0xBEEF");
        assert_eq!(ContentType(0x0A).to_string(), "0x0A");
        assert_eq!(Sslv2Cipher(0x05_0080).to_string(), "SSL_CK_IDEA_128_CBC_WITH_MD5");
    }

    #[test]
    fn alerts_carry_their_iana_names() {
        assert_eq!(AlertDescription(48).to_string(), "unknown_ca");
        assert_eq!(AlertDescription(116).to_string(), "certificate_required");
        assert_eq!(AlertDescription(45).to_string(), "certificate_expired");
        assert_eq!(AlertDescription(200).to_string(), "0xC8");
    }
}
