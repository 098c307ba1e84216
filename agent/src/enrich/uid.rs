//! UIDs of pods, and of other objects of the Kubernetes API.

/// What kubelet calls a pod in the names of control groups: the UID that the API server gave it (RFC 9562), or, of
/// static pods, the hash of their file. Both are 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(pub u128);

impl PodUid {
    /// From 32 hex digits in a row, or in groups of 8-4-4-4-12 parted by `-`, or by `_` as in systemd's slices.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let grouped = match bytes.len() {
            32 => false,
            36 => true,
            _ => return None,
        };
        let mut value = 0u128;
        for (at, byte) in bytes.iter().enumerate() {
            if grouped && matches!(at, 8 | 13 | 18 | 23) {
                if !matches!(byte, b'-' | b'_') {
                    return None;
                }
                continue;
            }
            let digit = char::from(*byte).to_digit(16)?;
            value = value << 4 | u128::from(digit);
        }
        Some(Self(value))
    }
}
