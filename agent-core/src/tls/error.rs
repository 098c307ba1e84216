//! What can be wrong with TLS bytes.

use super::codec::Field;

/// Why bytes are not well-formed TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A record's content type is none of those in use.
    #[error("record with unknown content type {0}")]
    UnknownContentType(u8),
    /// A record's version does not begin with 3.
    #[error("record with version {0:#06x}")]
    UnknownRecordVersion(u16),
    /// A record is longer than any version allows (RFC 5246 section 6.2.3).
    #[error("record of {0} bytes")]
    RecordTooLong(u16),
    /// A record of a type that must not be empty is (RFC 8446 section 5.1).
    #[error("empty record")]
    EmptyRecord,
    /// A ChangeCipherSpec record in the clear that is not one byte long.
    #[error("change_cipher_spec record of {0} bytes")]
    InvalidChangeCipherSpec(u16),
    /// An alert record in the clear that is not two bytes long.
    #[error("alert record of {0} bytes")]
    InvalidAlertLength(u16),
    /// A handshake message was cut off by a record of another type (RFC 8446 section 5.1).
    #[error("handshake message interrupted by another record type")]
    InterruptedMessage,
    /// A handshake message is longer than the limit set for the parser; it is skipped.
    #[error("handshake message of {0} bytes, longer than the limit")]
    MessageTooLong(u32),
    /// A field ends before its own length says.
    #[error("{} is truncated", .0.name)]
    Truncated(&'static Field),
    /// Bytes are left over behind a field or message.
    #[error("trailing bytes behind {}", .0.name)]
    TrailingBytes(&'static Field),
    /// A field has a value or a length that its definition does not allow.
    #[error("{} is invalid", .0.name)]
    Invalid(&'static Field),
    /// An extension occurs twice in one message.
    #[error("an extension occurs twice")]
    DuplicateExtension,
}

impl TlsError {
    /// What is wrong, without any payload: one of a closed set, in snake case, usable as a label.
    pub const fn reason(&self) -> &'static str {
        match self {
            TlsError::UnknownContentType(_) => "unknown_content_type",
            TlsError::UnknownRecordVersion(_) => "unknown_record_version",
            TlsError::RecordTooLong(_) => "record_too_long",
            TlsError::EmptyRecord => "empty_record",
            TlsError::InvalidChangeCipherSpec(_) => "invalid_change_cipher_spec",
            TlsError::InvalidAlertLength(_) => "invalid_alert_length",
            TlsError::InterruptedMessage => "interrupted_message",
            TlsError::MessageTooLong(_) => "message_too_long",
            TlsError::Truncated(field) => field.truncated,
            TlsError::TrailingBytes(field) => field.trailing,
            TlsError::Invalid(field) => field.invalid,
            TlsError::DuplicateExtension => "duplicate_extension",
        }
    }

    /// Are record boundaries lost? Then the direction yields nothing more; after any other error it goes on with the
    /// next message or record.
    pub const fn is_fatal(&self) -> bool {
        matches!(
            self,
            TlsError::UnknownContentType(_) | TlsError::UnknownRecordVersion(_) | TlsError::RecordTooLong(_)
        )
    }
}
