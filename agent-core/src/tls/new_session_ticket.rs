//! NewSessionTicket of TLS <= 1.2 (RFC 5077 section 3.3).

use super::codec::{Reader, field};
use super::error::TlsError;

/// The ticket; empty where the server changed its mind.
pub(super) fn parse(body: &[u8]) -> Result<Vec<u8>, TlsError> {
    let mut r = Reader::new(body);
    r.take(4, field!("ticket_lifetime_hint"))?;
    let ticket = r.vec16(field!("ticket"))?;
    r.expect_empty(field!("new_session_ticket"))?;
    Ok(ticket.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ticket() {
        assert_eq!(parse(&[0, 0, 1, 0, 0, 2, 7, 8]), Ok(vec![7, 8]));
    }

    #[test]
    fn rejects_truncated_and_trailing_tickets() {
        let reason = |body: &[u8]| parse(body).unwrap_err().reason();
        assert_eq!(reason(&[0, 0, 1]), "truncated_ticket_lifetime_hint");
        assert_eq!(reason(&[0, 0, 1, 0, 0, 2, 7]), "truncated_ticket");
        assert_eq!(reason(&[0, 0, 1, 0, 0, 0, 7]), "trailing_bytes_in_new_session_ticket");
    }
}
