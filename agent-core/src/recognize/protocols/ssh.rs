//! SSH: encrypted, but not by TLS (RFC 4253 section 4.2).

use crate::recognize::prefix::starts;
use crate::recognize::{Detection, Protocol};

/// SSH.
pub(in crate::recognize) struct Ssh;

fn identification(prefix: &[u8]) -> Detection {
    let versions: [&[u8]; 3] = [b"SSH-2.0-", b"SSH-1.99-", b"SSH-1.5-"];
    versions.iter().fold(Detection::NotThis, |d, v| d.or(starts(prefix, v)))
}

impl Protocol for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        identification(prefix)
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        identification(prefix)
    }

    fn encrypted_not_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    vec![
        encrypted("ssh", &[S(b"SSH-2.0-OpenSSH_9.6\r\n"), C(b"SSH-2.0-Go\r\n")]),
        encrypted("ssh", &[C(b"SSH-2.0-libssh2_1.11.0\r\n"), S(b"SSH-1.99-x\r\n")]),
    ]
}
