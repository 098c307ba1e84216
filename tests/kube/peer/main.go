// What runs in the pods of the Kubernetes tests: servers, and a client that calls again and again. Without arguments it
// waits, as the container that holds a pod's namespaces does.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

var (
	plain, overTLS, mutual, optional, dial list

	dir   = flag.String("dir", "/pki", "certificates")
	every = flag.Duration("every", 700*time.Millisecond, "between rounds of calls")
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pool() *x509.CertPool {
	pem, err := os.ReadFile(*dir + "/ca.pem")
	must(err)
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

func pair(name string) tls.Certificate {
	c, err := tls.LoadX509KeyPair(*dir+"/"+name+".pem", *dir+"/"+name+".key")
	must(err)
	return c
}

func serve(address string, config *tls.Config) {
	l, err := net.Listen("tcp", address)
	must(err)
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if config != nil {
				c = tls.Server(c, config)
			}
			in := bufio.NewReader(c)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if strings.TrimSpace(line) == "" {
					break
				}
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
			if t, is := c.(*tls.Conn); is {
				t.CloseWrite()
			}
		}()
	}
}

// http://ADDRESS, https://ADDRESS?NAME, mtls://ADDRESS?NAME: a new connection each, closed at its end.
func call(target string) error {
	u, err := url.Parse(target)
	must(err)
	c, err := net.DialTimeout("tcp", u.Host, 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if u.Scheme != "http" {
		config := &tls.Config{RootCAs: pool(), ServerName: u.RawQuery}
		if u.Scheme == "mtls" {
			config.Certificates = []tls.Certificate{pair("client")}
		}
		c = tls.Client(c, config)
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+u.Host+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && !strings.Contains(string(answer), "200 OK") {
		err = fmt.Errorf("answer %q", answer)
	}
	return err
}

func main() {
	flag.Var(&plain, "plain", "address to serve plaintext at")
	flag.Var(&overTLS, "tls", "address to serve TLS at")
	flag.Var(&mutual, "mutual", "address to serve mutual TLS at")
	flag.Var(&optional, "optional", "address to serve TLS at, where clients may show a certificate")
	flag.Var(&dial, "dial", "what to call")
	flag.Parse()
	server := func(auth tls.ClientAuthType) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{pair("server")}, ClientCAs: pool(), ClientAuth: auth}
	}
	for _, address := range plain {
		go serve(address, nil)
	}
	for _, address := range overTLS {
		go serve(address, server(tls.NoClientCert))
	}
	for _, address := range mutual {
		go serve(address, server(tls.RequireAndVerifyClientCert))
	}
	for _, address := range optional {
		go serve(address, server(tls.VerifyClientCertIfGiven))
	}
	if len(dial) > 0 {
		go func() {
			for {
				for _, target := range dial {
					if err := call(target); err != nil {
						fmt.Println(target, err)
					}
				}
				time.Sleep(*every)
			}
		}()
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
