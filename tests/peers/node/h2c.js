// HTTP/2 without TLS: `h2c.js PORT`.
'use strict';
const http2 = require('http2');

const server = http2.createServer((request, response) => response.end('hello\n'));
server.listen(+process.argv[2], '0.0.0.0', () => console.log('listening'));
