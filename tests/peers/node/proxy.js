// A proxy that is a TLS server and a TLS client at once, in one event loop; the same arguments and lines as
// python/proxy.py.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const tls = require('tls');

const [port, cert, key] = process.argv.slice(2, 5);
const a = JSON.parse(fs.readFileSync(process.argv[6]));
const { ports, names } = a;
const [certFile, keyFile] = a.identities[0];
const mine = { ca: fs.readFileSync(a.ca), cert: fs.readFileSync(certFile), key: fs.readFileSync(keyFile) };
let count = 0;

const front = { ca: mine.ca, cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const listener = tls.createServer({ ...front, requestCert: true, rejectUnauthorized: true }, (conn) => {
  const n = count++;
  conn.on('error', (e) => console.log('front failed: ' + e.message));
  conn.once('data', (request) => {
    const name = names[n % ports.length];
    const back = tls.connect({ ...mine, minVersion: 'TLSv1.3', host: a.address, port: ports[n % ports.length],
      servername: name || '', ...(name ? {} : { checkServerIdentity: () => undefined }) });
    back.on('error', (e) => console.log('back failed: ' + e.message));
    back.on('secureConnect', () => {
      const seen = crypto.createHash('sha256').update(back.getPeerCertificate().raw).digest('hex').toUpperCase();
      console.log(JSON.stringify({ number: n, local: back.localPort, server: back.remotePort, seen }));
      back.end(request);
    });
    back.on('data', (d) => conn.write(d));
    back.on('end', () => conn.end());
  });
});
listener.listen({ host: '0.0.0.0', port: +port, backlog: 4096 }, () => console.log('listening'));
