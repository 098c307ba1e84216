package main

import (
	"crypto/tls"
	"fmt"
	"os"
)

func main() {
	pair := func(cert, key string) []tls.Certificate {
		c, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			panic(err)
		}
		return []tls.Certificate{c}
	}
	version := uint16(tls.VersionTLS13)
	if os.Args[1] == "1.2" {
		version = tls.VersionTLS12
	}
	server := &tls.Config{Certificates: pair(os.Args[2], os.Args[3]), MaxVersion: version, ClientAuth: tls.RequestClientCert}
	client := &tls.Config{InsecureSkipVerify: true}
	if len(os.Args) > 4 {
		client.Certificates = pair(os.Args[4], os.Args[5])
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		panic(err)
	}
	done := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		c.Write([]byte("hello"))
		c.Close()
		close(done)
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		panic(err)
	}
	c.Read(make([]byte, 5))
	<-done
	fmt.Println("done")
}
