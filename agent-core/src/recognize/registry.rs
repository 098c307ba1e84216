//! Every protocol known here, one line each.

use super::Protocol;
use super::protocols::*;

/// Every protocol known here. The order carries no meaning: a verdict needs exactly one that says `Is`.
pub static PROTOCOLS: &[&dyn Protocol] = &[
    &amqp::Amqp,
    &cassandra::Cassandra,
    &dns::Dns,
    &ftp::Ftp,
    &http1::Http1,
    &http2::Http2,
    &imap::Imap,
    &irc::Irc,
    &kafka::Kafka,
    &ldap::Ldap,
    &managesieve::ManageSieve,
    &memcached::Memcached,
    &mongodb::MongoDb,
    &mqtt::Mqtt,
    &mysql::MySql,
    &nats::Nats,
    &nntp::Nntp,
    &pop3::Pop3,
    &postgresql::PostgreSql,
    &redis::Redis,
    &smtp::LMTP,
    &smtp::SMTP,
    &ssh::Ssh,
    &xmpp::Xmpp,
];

/// What each protocol's file holds as examples of itself.
#[cfg(test)]
pub(super) fn samples() -> Vec<super::testing::Sample> {
    [
        amqp::samples(),
        cassandra::samples(),
        dns::samples(),
        ftp::samples(),
        http1::samples(),
        http2::samples(),
        imap::samples(),
        irc::samples(),
        kafka::samples(),
        ldap::samples(),
        managesieve::samples(),
        memcached::samples(),
        mongodb::samples(),
        mqtt::samples(),
        mysql::samples(),
        nats::samples(),
        nntp::samples(),
        pop3::samples(),
        postgresql::samples(),
        redis::samples(),
        smtp::samples(),
        ssh::samples(),
        xmpp::samples(),
    ]
    .concat()
}
