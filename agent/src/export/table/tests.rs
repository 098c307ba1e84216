use super::super::sample;
use super::*;
use unicode_width::UnicodeWidthStr;

fn render(o: &Observation, look: Look) -> String {
    let mut out = Vec::new();
    TableSink::new(&mut out, look).observation(o).unwrap();
    String::from_utf8(out).unwrap()
}

fn look() -> Look {
    Look { color: false, width: None, zone: TimeZone::UTC, date: false, process: true, flush_each: false }
}

#[test]
fn aligns_columns_under_their_headers() {
    assert_eq!(
        render(&sample::plaintext(), look()),
        "TIME          SECURITY   PROTOCOL    PROCESS          LOCAL                      PEER                   \
         NAME                      DETAILS\n\
         03:04:05.123  plaintext  http        -                10.0.0.1:40000         ->  10.0.0.2:80            -\n"
    );
}

#[test]
fn says_everything_when_nothing_limits_the_line() {
    let text = render(&sample::everything(), look());
    assert_eq!(
        text.lines().nth(1).unwrap(),
        "03:04:05.123  mtls 1.2   smtp        nginx[42]        [::1]:443              <-  [::1]:40001            \
         a.example                 alert bad_certificate from client, client certificate: cannot be told, \
         after STARTTLS, closed after 1.5s, 1000 B sent, 2000 B answered, \
         client CN=alice (88 days left), server CN=a.example (88 days left), \
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, x25519, hello retried, early data offered, PROXY protocol v2"
    );
}

#[test]
fn lines_end_at_the_width_of_the_terminal() {
    for width in 1..250 {
        for line in render(&sample::everything(), Look { width: Some(width), ..look() }).lines() {
            assert!(line.width() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colour_leaves_the_text_as_it_is() {
    let plain = render(&sample::plaintext(), look());
    let colored = render(&sample::plaintext(), Look { color: true, ..look() });
    let red = AnsiColor::Red.on_default().bold();
    assert!(colored.contains(&format!("{red}plaintext{red:#}")), "{colored}");
    let mut stripped = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn names_from_the_wire_cannot_move_the_cursor() {
    let mut o = sample::everything();
    o.tls.as_mut().unwrap().server_name = Some("x\x1b[2J\r\u{202e}".to_owned());
    let text = render(&o, look());
    assert!(text.contains("x\\u{1b}[2J\\u{d}\\u{202e}"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn certificates_of_a_process_are_one_line_without_addresses() {
    let mut out = Vec::new();
    let mut sink = TableSink::new(&mut out, look());
    for (peer, fits_none) in [(Some(Side::Server), true), (None, false)] {
        let mut certificates = sample::process_certificates(peer);
        if fits_none {
            certificates.reason = agent_core::observation::NotTied::NoConnection;
        }
        sink.process_certificates(&certificates).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "03:04:05.123  -          -           nginx[42]        -                          -                      \
             -                         server CN=b.example (88 days left), \
             certificate of the process: fits no connection",
            "03:04:05.123  -          -           nginx[42]        -                          -                      \
             -                         peer CN=b.example (88 days left), \
             certificate of the process: fits several connections",
        ]
    );
}

#[test]
fn a_probed_chain_reads_as_one_from_the_wire() {
    let wire = sample::everything();
    let mut probed = wire.clone();
    probed.source = Some(agent_core::observation::Source::Probe);
    assert_eq!(render(&probed, look()), render(&wire, look()));
}
