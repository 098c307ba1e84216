package main

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Where the linker put the label that crypto/tls hands to a log of keys: one place for all that have the same letters.
func page() uintptr {
	return uintptr(unsafe.Pointer(unsafe.StringData("CLIENT_HANDSHAKE_TRAFFIC_SECRET"))) &^ 4095
}

// Takes the page out of this process' memory. It is there again when it is touched, or a page near it for the first time.
func forget() {
	_, _, errno := syscall.RawSyscall(syscall.SYS_MADVISE, page(), 4096, syscall.MADV_DONTNEED)
	if errno != 0 {
		panic(errno)
	}
}

func isInMemory() bool {
	pagemap, err := os.Open("/proc/self/pagemap")
	check(err)
	defer pagemap.Close()
	entry := make([]byte, 8)
	_, err = pagemap.ReadAt(entry, int64(page()/4096*8))
	check(err)
	return binary.LittleEndian.Uint64(entry)>>63 == 1
}

func main() {
	pair := func(cert, key string) []tls.Certificate {
		c, err := tls.LoadX509KeyPair(cert, key)
		check(err)
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
	connect(server, client)
	if os.Args[1] == "forgetful" {
		forget()
		connect(server, client)
		if isInMemory() {
			panic("the label is in memory")
		}
	}
	fmt.Println("done")
}

func connect(server, client *tls.Config) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	check(err)
	defer l.Close()
	done := make(chan struct{})
	go func() {
		c, err := l.Accept()
		check(err)
		c.Write([]byte("hello"))
		c.Close()
		close(done)
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	check(err)
	c.Read(make([]byte, 5))
	c.Close()
	<-done
}
