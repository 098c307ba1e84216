//! File, environment and flags.

use std::collections::BTreeMap;

use super::*;
use crate::config::Config;
use crate::config::otlp::Otlp;

fn file(text: &str) -> Otlp {
    Config::parse(text).unwrap().otlp
}

fn resolve(file: &Otlp, env: &[(&str, &str)], flags: &Otlp) -> Result<Options, String> {
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    Options::resolve(file, &|name| env.get(name).map(|value| (*value).to_owned()), flags)
        .map_err(|failure| failure.to_string())
}

fn endpoints(options: &Options) -> [Option<String>; 3] {
    let of = |target: Option<&Target>| target.map(|target| target.endpoint.to_string());
    [
        of(options.traces.as_ref().map(|traces| &traces.target)),
        of(options.logs.as_ref().map(|logs| &logs.target)),
        of(options.metrics.as_ref().map(|metrics| &metrics.target)),
    ]
}

fn some(endpoints: [&str; 3]) -> [Option<String>; 3] {
    endpoints.map(|endpoint| Some(endpoint.to_owned()).filter(|endpoint| !endpoint.is_empty()))
}

#[test]
fn nothing_is_sent_until_somebody_says_where() {
    let none = Otlp::default();
    assert!(!resolve(&none, &[], &none).unwrap().is_enabled());
    assert!(!resolve(&none, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], &none).unwrap().is_enabled());
    let on = resolve(&file("otlp: {enabled: on}"), &[], &none).unwrap();
    assert_eq!(
        endpoints(&on),
        some(["http://localhost:4318/v1/traces", "http://localhost:4318/v1/logs", ""])
    );
    let asked =
        resolve(&none, &[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], &none);
    assert_eq!(endpoints(&asked.unwrap()), some(["", "", "http://localhost:4317/"]));
}

#[test]
fn flags_count_for_more_than_the_environment_and_that_for_more_than_the_file() {
    let said = file("otlp: {endpoint: 'http://file:1', traces: {endpoint: 'http://file-traces:1/x'}}");
    let none = Otlp::default();
    let got = |env: &[(&str, &str)], flags: &Otlp| endpoints(&resolve(&said, env, flags).unwrap());
    assert_eq!(got(&[], &none), some(["http://file-traces:1/x", "http://file:1/v1/logs", ""]));
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:2/base/"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://env-logs:2/y"),
    ];
    assert_eq!(got(&env, &none), some(["http://env:2/base/v1/traces", "http://env-logs:2/y", ""]));
    let flags = Otlp { endpoint: Some("http://flag:3".to_owned()), ..Otlp::default() };
    assert_eq!(got(&env, &flags), some(["http://flag:3/v1/traces", "http://flag:3/v1/logs", ""]));
}

#[test]
fn signals_are_switched_by_their_variables() {
    let said = file("otlp: {endpoint: 'http://c:1', metrics: {enabled: on}}");
    let none = Otlp::default();
    let got = |env: &[(&str, &str)]| endpoints(&resolve(&said, env, &none).unwrap()).map(|e| e.is_some());
    assert_eq!(got(&[]), [true, true, true]);
    assert_eq!(got(&[("OTEL_SDK_DISABLED", "TRUE")]), [false, false, false]);
    assert_eq!(got(&[("OTEL_SDK_DISABLED", "1")]), [true, true, true]);
    assert_eq!(got(&[("OTEL_TRACES_EXPORTER", "none")]), [false, true, true]);
    assert_eq!(
        got(&[("OTEL_LOGS_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")]),
        [true, false, false]
    );
}

#[test]
fn every_variable_is_read() {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x = 1 "),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/me.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/me.key"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs/z"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "y=2"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/ca2.pem"),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "/me2.pem"),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "/me2.key"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "30"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "40"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "101"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "201"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "31"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "11"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "50"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "60"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "51"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "61"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "9000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "8000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=other"),
        ("OTEL_SERVICE_NAME", "mine"),
    ];
    let options = resolve(&Otlp::default(), &env, &Otlp::default()).unwrap();
    let headers = |pairs: &[(&str, &str)]| {
        Headers(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    };
    let millis = Duration::from_millis;
    let general = Target {
        endpoint: "http://collector:4317".parse().unwrap(),
        protocol: Protocol::Grpc,
        headers: headers(&[("authorization", "Bearer abc"), ("x", "1")]),
        certificate: Some("/ca.pem".into()),
        client: Some(("/me.pem".into(), "/me.key".into())),
        gzip: true,
        timeout: millis(1500),
    };
    let own = Target {
        endpoint: "https://logs/z".parse().unwrap(),
        protocol: Protocol::HttpJson,
        headers: headers(&[("y", "2")]),
        certificate: Some("/ca2.pem".into()),
        client: Some(("/me2.pem".into(), "/me2.key".into())),
        gzip: false,
        timeout: millis(2500),
    };
    let traces = options.traces.as_ref().unwrap();
    let queue = Queue {
        max_size: 30,
        max_bytes: 16 << 20,
        max_batch: 30,
        delay: millis(100),
        export_timeout: millis(200),
    };
    assert_eq!((&traces.target, traces.ratio.get(), traces.queue), (&general, 0.5, queue));
    assert_eq!(traces.limits, Limits { count: 51, value_length: 60 });
    let logs = options.logs.as_ref().unwrap();
    let queue =
        Queue { max_size: 31, max_batch: 11, delay: millis(101), export_timeout: millis(201), ..queue };
    assert_eq!(
        (&logs.target, logs.queue, logs.limits),
        (&own, queue, Limits { count: 50, value_length: 61 })
    );
    let metrics = options.metrics.as_ref().unwrap();
    assert_eq!(metrics.target, Target { timeout: millis(8000), ..general });
    assert_eq!(metrics.interval, millis(9000));
    assert_eq!(metrics.temporality, opentelemetry_sdk::metrics::Temporality::Delta);
    let resource: Vec<(&str, &str)> =
        options.resource.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(resource, [("service.name", "mine"), ("team", "a,b")]);
    assert!(!format!("{options:?}").contains("abc"), "a header's value is shown");
}

#[test]
fn what_is_wrong_is_named_and_secrets_are_not() {
    let none = Otlp::default();
    for (name, value, expected) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT: expected milliseconds"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "OTEL_EXPORTER_OTLP_HEADERS: expected key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%zz", "OTEL_EXPORTER_OTLP_HEADERS: expected key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0a", "the value of header a cannot be sent"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x", "expected http:// or https://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector", "endpoint collector"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@x", "a user's name"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "OTEL_EXPORTER_OTLP_COMPRESSION"),
        ("OTEL_TRACES_EXPORTER", "console", "OTEL_TRACES_EXPORTER: expected otlp or none, not console"),
        ("OTEL_TRACES_SAMPLER", "xray", "OTEL_TRACES_SAMPLER"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "OTEL_TRACES_SAMPLER_ARG: expected a share from 0 to 1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "otlp.traces.queue.max_size: 0 is not between 1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "OTEL_BSP_MAX_QUEUE_SIZE: expected a whole number"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k", "a client key needs its certificate"),
    ] {
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x"), (name, value)];
        let error = resolve(&none, &env, &none).expect_err(value);
        assert!(error.contains(expected) && !error.contains("secret"), "{name}={value}: {error}");
    }
}

#[test]
fn what_settings_come_to_comes_to_the_same_again() {
    let said = file(
        "otlp: {endpoint: 'https://c:1', protocol: http/json, headers: {a: b}, metrics: {enabled: on}, \
         traces: {sampler: traceidratio, ratio: 0.5, queue: {max_size: 9}}, logs: {audit: off}, \
         attribute_limits: {count: 9, value_length: 99}, resource: {team: x}}",
    );
    let once = settle(&said, &|_| None, &Otlp::default()).unwrap();
    assert_eq!(settle(&once, &|_| None, &Otlp::default()).unwrap(), once);
    assert_eq!(
        format!("{:?}", Options::settled(&once).unwrap()),
        format!("{:?}", resolve(&said, &[], &Otlp::default()).unwrap())
    );
    let off = settle(&Otlp::default(), &|_| None, &Otlp::default()).unwrap();
    assert!(!Options::settled(&off).unwrap().is_enabled());
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let said = file("otlp: {endpoint: 'https://c:1', certificate: /no/such.pem}");
    let options = resolve(&said, &[], &Otlp::default()).unwrap();
    let failure = start(&options).expect_err("no such file");
    assert!(failure.to_string().contains("/no/such.pem"), "{failure}");
}
