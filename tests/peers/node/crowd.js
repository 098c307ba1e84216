// Many TLS connections at the same time from one event loop: all TCP connections are there before the first handshake
// begins, and stay until the last one is through. Prints one line of JSON a connection, as python/crowd.py does and with
// the same arguments.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const tls = require('tls');

const REQUEST = 'GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n';
const a = JSON.parse(fs.readFileSync(process.argv[3]));
const { ports, names } = a;
const ca = fs.readFileSync(a.ca);
const contexts = (a.identities.length ? a.identities : [null]).map((identity) =>
  tls.createSecureContext({ ca, ...(identity && { cert: fs.readFileSync(identity[0]), key: fs.readFileSync(identity[1]) }) }));

function fail(e) {
  console.log('failed: ' + e.message);
  process.exit(1);
}

function open(n) {
  return new Promise((done) => {
    const sock = net.connect({ host: a.address, port: ports[n % ports.length] }, () => done(sock));
    sock.on('error', fail);
  });
}

function talk(n, sock) {
  return new Promise((done) => {
    const name = names[n % ports.length];
    const conn = tls.connect({ socket: sock, secureContext: contexts[n % contexts.length], minVersion: 'TLSv1.3',
      servername: name || '', ...(name ? {} : { checkServerIdentity: () => undefined }) });
    let body = '';
    conn.on('error', fail);
    conn.on('secureConnect', () => {
      const seen = crypto.createHash('sha256').update(conn.getPeerCertificate().raw).digest('hex').toUpperCase();
      console.log(JSON.stringify({ number: n, local: sock.localPort, server: sock.remotePort, seen }));
      conn.write(REQUEST);
    });
    conn.on('data', (d) => {
      body += d;
      if (body.includes('200 OK')) done(conn);
    });
  });
}

function plain(n) {
  return new Promise((done) => {
    const sock = net.connect({ host: a.address, port: a.plain }, () => {
      console.log(JSON.stringify({ number: n, local: sock.localPort, server: a.plain }));
      sock.write(REQUEST);
    });
    sock.on('error', fail);
    sock.on('data', () => {});
    sock.on('close', () => done());
  });
}

async function main() {
  const all = [...Array(a.count).keys()];
  const socks = await Promise.all(all.map(open));
  const plains = [];
  const conns = await Promise.all(all.map((n) => {
    const talking = talk(n, socks[n]);
    if (a.plain) plains.push(plain(n));
    return talking;
  }));
  await Promise.all(plains);
  conns.forEach((conn) => conn.end());
}

main();
