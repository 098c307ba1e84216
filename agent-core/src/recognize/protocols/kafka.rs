//! Kafka. A request header alone is little more than small numbers: it takes a response that echoes its correlation id,
//! or an ApiVersions request that fits to the last byte.

use crate::recognize::prefix::{be16_at, be32_at, check, is_printable, u8_at};
use crate::recognize::{Detection, Protocol};

/// Kafka's request and response protocol.
pub(in crate::recognize) struct Kafka;

/// Largest request accepted by default (`socket.request.max.bytes`).
const MAX_MESSAGE: u32 = 104_857_600;
/// Highest API key and version in use, with room for some years.
const MAX_API_KEY: u16 = 110;
const MAX_API_VERSION: u16 = 24;
const API_VERSIONS: u16 = 18;

impl Protocol for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        let header = check(|| request(prefix)).unsure();
        if check(|| api_versions(prefix)) == Detection::Is { Detection::Is } else { header }
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| {
            // Judged byte by byte: most other protocols end here.
            if u32::from(u8_at(prefix, 0)?) > MAX_MESSAGE >> 24 {
                return Some(false);
            }
            Some((4..=MAX_MESSAGE).contains(&be32_at(prefix, 0)?))
        })
        .unsure()
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        if each != Detection::NeedMore {
            return each;
        }
        match (check(|| request(client)), be32_at(client, 8), be32_at(server, 4)) {
            (Detection::Is, Some(asked), Some(answered)) if asked == answered => Detection::Is,
            (Detection::Is, Some(_), Some(_)) => Detection::NotThis,
            _ => Detection::NeedMore,
        }
    }
}

/// length, api_key, api_version, correlation_id, client_id (RequestHeader v1; v2 adds tags behind it).
fn request(prefix: &[u8]) -> Option<bool> {
    if u32::from(u8_at(prefix, 0)?) > MAX_MESSAGE >> 24 {
        return Some(false);
    }
    let len = be32_at(prefix, 0)?;
    if !(10..=MAX_MESSAGE).contains(&len) {
        return Some(false);
    }
    if u8_at(prefix, 4)? != 0 || be16_at(prefix, 4)? > MAX_API_KEY {
        return Some(false);
    }
    if u8_at(prefix, 6)? != 0 || be16_at(prefix, 6)? > MAX_API_VERSION {
        return Some(false);
    }
    let id_len = be16_at(prefix, 12)?;
    if id_len == u16::MAX {
        return Some(true);
    }
    if id_len > 255 || u32::from(id_len).saturating_add(10) > len {
        return Some(false);
    }
    let id = prefix.get(14..)?;
    let id = id.get(..usize::from(id_len)).unwrap_or(id);
    if !id.iter().all(|b| is_printable(*b)) {
        return Some(false);
    }
    (id.len() == usize::from(id_len)).then_some(true)
}

/// ApiVersions v3 and later: client id, no tags, software name and version, no tags, and nothing else.
fn api_versions(prefix: &[u8]) -> Option<bool> {
    if !request(prefix)? || be16_at(prefix, 4)? != API_VERSIONS || !(3..=4).contains(&be16_at(prefix, 6)?) {
        return Some(false);
    }
    let id_len = be16_at(prefix, 12)?;
    let mut at = 14usize.saturating_add(if id_len == u16::MAX { 0 } else { usize::from(id_len) });
    if u8_at(prefix, at)? != 0 {
        return Some(false);
    }
    at = at.saturating_add(1);
    for _ in 0..2 {
        let len = usize::from(u8_at(prefix, at)?);
        if !(2..=64).contains(&len) {
            return Some(false);
        }
        let text = prefix.get(at.saturating_add(1)..at.saturating_add(len))?;
        if !text.iter().all(|b| is_printable(*b)) {
            return Some(false);
        }
        at = at.saturating_add(len);
    }
    Some(u8_at(prefix, at)? == 0 && usize::try_from(be32_at(prefix, 0)?).ok() == Some(at.saturating_sub(3)))
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    // ApiVersions v3, and Metadata v1 with its answer.
    let versions = b"\0\0\0\x24\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\x0blibrdkafka\x062.3.0\0";
    let mut v = versions.to_vec();
    v[3] = u8::try_from(v.len() - 4).unwrap();
    let metadata = b"\0\0\0\x12\0\x03\0\x01\0\0\0\x05\0\x04\x61pp1\xff\xff\xff\xff";
    vec![
        plain("kafka", &[C(&v), S(b"\0\0\x01\x1e\0\0\0\x01\0\0\x3d")]),
        plain("kafka", &[C(metadata), S(b"\0\0\0\x50\0\0\0\x05\0\0\0\x01")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_alone_does_not_convince() {
        let metadata = b"\0\0\0\x12\0\x03\0\x01\0\0\0\x05\0\x04app1\xff\xff\xff\xff";
        assert_eq!(Kafka.client(metadata), Detection::NeedMore);
        assert_eq!(Kafka.both(metadata, b"\0\0\0\x50\0\0\0\x06"), Detection::NotThis);
    }
}
