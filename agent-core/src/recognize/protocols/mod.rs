//! One file a protocol.

mod http_upgrade;
mod lines;

pub(super) mod amqp;
pub(super) mod cassandra;
pub(super) mod dns;
pub(super) mod ftp;
pub(super) mod http1;
pub(super) mod http2;
pub(super) mod imap;
pub(super) mod irc;
pub(super) mod kafka;
pub(super) mod ldap;
pub(super) mod managesieve;
pub(super) mod memcached;
pub(super) mod mongodb;
pub(super) mod mqtt;
pub(super) mod mysql;
pub(super) mod nats;
pub(super) mod nntp;
pub(super) mod pop3;
pub(super) mod postgresql;
pub(super) mod redis;
pub(super) mod smtp;
pub(super) mod ssh;
pub(super) mod xmpp;
