//! A stapled OCSP response as it was sent.

use std::ops::Deref;

use super::budget::Held;

/// A stapled OCSP response (RFC 6960), DER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OcspResponse {
    der: Box<[u8]>,
    held: Held,
}

impl OcspResponse {
    /// One that counts its memory for as long as it is held.
    pub(super) fn new(der: Vec<u8>, held: Held) -> Self {
        Self { der: der.into(), held }
    }
}

impl From<Vec<u8>> for OcspResponse {
    fn from(der: Vec<u8>) -> Self {
        Self::new(der, Held::default())
    }
}

impl Deref for OcspResponse {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.der
    }
}
