//! MQTT 3.1, 3.1.1 and 5.

use crate::recognize::prefix::{check, starts, u8_at};
use crate::recognize::{Detection, Protocol};

/// MQTT.
pub(in crate::recognize) struct Mqtt;

impl Protocol for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    /// CONNECT: type 1, remaining length of one to four bytes, protocol name, level.
    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| {
            if u8_at(prefix, 0)? != 0x10 {
                return Some(false);
            }
            let mut at = 1usize;
            while u8_at(prefix, at)? & 0x80 != 0 {
                at = at.saturating_add(1);
                if at > 4 {
                    return Some(false);
                }
            }
            let name = prefix.get(at.saturating_add(1)..)?;
            let known: [&[u8]; 3] = [b"\0\x04MQTT\x04", b"\0\x04MQTT\x05", b"\0\x06MQIsdp\x03"];
            match known.iter().fold(Detection::NotThis, |d, n| d.or(starts(name, n))) {
                Detection::NeedMore => None,
                d => Some(d == Detection::Is),
            }
        })
    }

    /// CONNACK proves nothing by itself.
    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| Some(u8_at(prefix, 0)? == 0x20 && u8_at(prefix, 1)? >= 2)).unsure()
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    vec![plain("mqtt", &[C(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a"), S(b"\x20\x02\0\0")])]
}
