// A TLS server and client on Go's crypto/tls; it takes the same arguments as the other peer programs.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

const request = "GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n"
const response = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"

var (
	flags   = flag.NewFlagSet("peer", flag.ExitOnError)
	address = flags.String("address", "0.0.0.0", "")
	port    = flags.Int("port", 0, "")
	name    = flags.String("name", "", "SNI; none is sent without it")
	version = flags.String("tls", "", "only this version")
	ca      = flags.String("ca", "", "")
	cert    = flags.String("cert", "", "")
	key     = flags.String("key", "", "")
	ask     = flags.String("ask", "none", "")
	alpn    = flags.String("alpn", "", "")
	groups  = flags.String("groups", "", "")
	times   = flags.Int("times", 1, "")
)

var curves = map[string]tls.CurveID{"P-256": tls.CurveP256, "P-384": tls.CurveP384, "X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func config(mode string) *tls.Config {
	c := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	pem, err := os.ReadFile(*ca)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c.RootCAs, c.ClientCAs = pool, pool
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		must(err)
		if mode == "client" {
			// Sent whatever authorities the server names: which certificate a client offers is part of the tests.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		} else {
			c.Certificates = []tls.Certificate{pair}
		}
	}
	switch *version {
	case "1.2":
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	case "1.3":
		c.MinVersion, c.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	}
	switch *ask {
	case "optional":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case "require":
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if *alpn != "" {
		c.NextProtos = strings.Split(*alpn, ",")
	}
	if *groups != "" {
		for _, g := range strings.Split(*groups, ",") {
			c.CurvePreferences = append(c.CurvePreferences, curves[g])
		}
	}
	return c
}

func serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			fmt.Println("connection failed:", err)
			return
		}
		if line == "\r\n" {
			break
		}
	}
	io.WriteString(conn, response)
}

func server() {
	l, err := tls.Listen("tcp", net.JoinHostPort(*address, fmt.Sprint(*port)), config("server"))
	must(err)
	fmt.Println("listening")
	for {
		conn, err := l.Accept()
		must(err)
		go serve(conn)
	}
}

func once(c *tls.Config) (map[string]any, error) {
	raw, err := net.Dial("tcp", net.JoinHostPort(*address, fmt.Sprint(*port)))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, c)
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	s := conn.ConnectionState()
	conn.Close()
	return map[string]any{
		"version": strings.TrimPrefix(tls.VersionName(s.Version), "TLS "),
		"cipher":  tls.CipherSuiteName(s.CipherSuite),
		"group":   s.CurveID.String(),
		"alpn":    s.NegotiatedProtocol,
		"resumed": s.DidResume,
		"body":    string(body),
	}, nil
}

func client() {
	c := config("client")
	c.ServerName = *name
	if *name == "" {
		c.InsecureSkipVerify = true
	}
	for range *times {
		said, err := once(c)
		if err != nil {
			said = map[string]any{"error": err.Error()}
		}
		line, _ := json.Marshal(said)
		fmt.Println(string(line))
	}
}

func main() {
	must(flags.Parse(os.Args[2:]))
	switch os.Args[1] {
	case "server":
		server()
	case "bench":
		bench()
	default:
		client()
	}
}
