package cluster_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// balancer plays the Service of hssgate: each new connection goes to one of
// the pods that are ready, in turn, and stays with it.
type balancer struct {
	listener net.Listener
	// ready returns the addresses of the pods that are ready.
	ready func() []string
	next  atomic.Uint64
	// refused counts the connections that had no pod to go to.
	refused atomic.Int64
}

func newBalancer(t *testing.T, ready func() []string) *balancer {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: listener, ready: ready}
	go b.serve()
	t.Cleanup(func() { _ = listener.Close() })
	return b
}

// address is where the API server asks.
func (b *balancer) address() string { return b.listener.Addr().String() }

func (b *balancer) serve() {
	for {
		connection, err := b.listener.Accept()
		if err != nil {
			return // closed
		}
		go b.forward(connection)
	}
}

func (b *balancer) forward(from net.Conn) {
	defer from.Close()
	ready := b.ready()
	if len(ready) == 0 {
		b.refused.Add(1)
		return
	}
	to, err := (&net.Dialer{}).Dial("tcp", ready[b.next.Add(1)%uint64(len(ready))])
	if err != nil {
		b.refused.Add(1)
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() { pass(to, from) })
	both.Go(func() { pass(from, to) })
	both.Wait()
}

// pass copies until one side has nothing more to say, and tells the other so.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // however it ended, it has ended
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
