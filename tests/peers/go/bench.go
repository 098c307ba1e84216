package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	parallel = flags.Int("parallel", 4, "bench: goroutines that make connections")
	seconds  = flags.Float64("seconds", 2, "bench: how long")
)

// bench makes full handshakes, one byte each way after them, and prints how many in how many seconds.
func bench() {
	c := config("client")
	c.ClientSessionCache = nil
	c.ServerName = *name
	to := net.JoinHostPort(*address, fmt.Sprint(*port))
	var done atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(*seconds * float64(time.Second)))
	for range *parallel {
		running.Go(func() {
			for time.Now().Before(end) {
				conn, err := tls.Dial("tcp", to, c)
				must(err)
				_, err = conn.Write([]byte(request))
				must(err)
				conn.Read(make([]byte, 4096))
				conn.Close()
				done.Add(1)
			}
		})
	}
	running.Wait()
	fmt.Println(done.Load(), time.Since(start).Seconds())
}
