"""Python's own HTTP server, in plaintext: `http_plain.py PORT`."""

import http.server
import sys


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64


with Server(("0.0.0.0", int(sys.argv[1])), Hello) as server:
    print("listening", flush=True)
    server.serve_forever()
