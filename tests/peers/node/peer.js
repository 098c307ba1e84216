// A TLS server and client on Node's tls module; it takes the same arguments as the other peer programs.
'use strict';
const fs = require('fs');
const tls = require('tls');

const REQUEST = 'GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n';
const RESPONSE =
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n';

const mode = process.argv[2];
const a = {};
for (let i = 3; i < process.argv.length; i += 2) a[process.argv[i].slice(2)] = process.argv[i + 1];

const options = { ca: fs.readFileSync(a.ca) };
if (a.cert) {
  options.cert = fs.readFileSync(a.cert);
  options.key = fs.readFileSync(a.key);
}
if (a.tls) options.minVersion = options.maxVersion = 'TLSv' + a.tls;
if (a.alpn) options.ALPNProtocols = a.alpn.split(',');
if (a.groups) options.ecdhCurve = a.groups;

function server() {
  options.requestCert = a.ask === 'optional' || a.ask === 'require';
  options.rejectUnauthorized = a.ask === 'require';
  const listener = tls.createServer(options, (conn) => {
    let data = '';
    conn.on('data', (d) => {
      data += d;
      if (data.includes('\r\n\r\n')) conn.end(RESPONSE);
    });
    conn.on('error', (e) => console.log('connection failed: ' + e.message));
  });
  listener.on('tlsClientError', (e) => console.log('handshake failed: ' + e.message));
  listener.listen({ host: a.address || '0.0.0.0', port: +a.port, backlog: 64 }, () => console.log('listening'));
}

function once(times, session) {
  if (times === 0) return;
  let body = '', said, ticket, error;
  const conn = tls.connect({ ...options, host: a.address, port: +a.port, servername: a.name || '', session,
    ...(a.name ? {} : { checkServerIdentity: () => undefined }) });
  conn.on('secureConnect', () => {
    said = {
      version: conn.getProtocol().replace('TLSv', ''),
      cipher: conn.getCipher().standardName,
      group: conn.getEphemeralKeyInfo().name,
      alpn: conn.alpnProtocol || null,
      resumed: conn.isSessionReused(),
    };
    ticket = conn.getSession();
    conn.write(REQUEST);
  });
  conn.on('session', (s) => { ticket = s; });
  conn.on('data', (d) => { body += d; });
  conn.on('error', (e) => { error = e.message; });
  conn.on('close', () => {
    console.log(JSON.stringify(error ? { error } : { ...said, body }));
    once(times - 1, ticket);
  });
}

if (mode === 'server') server();
else once(+(a.times || 1));
