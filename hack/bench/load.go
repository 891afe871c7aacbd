package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/hssgate/hssgate/internal/server"
)

const (
	// connections is how many the load is spread over.
	connections = 16
	// startTimeout bounds the start of a server.
	startTimeout = time.Minute
)

// connection is one keep-alive connection. It writes requests that were made ahead, since an HTTP client would cost more
// than the servers.
type connection struct {
	net.Conn

	reader   *bufio.Reader
	requests []request
}

// request is a whole HTTP request, and the UID that must be in its answer.
type request struct{ bytes, uid []byte }

// connect opens all connections once the server listens.
func connect(ctx context.Context, address string) ([]*connection, error) {
	var requests []request
	for n := range distinctReviews {
		r, err := newRequest(address, n)
		if err != nil {
			return nil, err
		}
		requests = append(requests, r)
	}
	dialer := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, InsecureSkipVerify: true, //nolint:gosec // this program's own server
	}}
	var all []*connection
	for range connections {
		var conn net.Conn
		var dialErr error
		dial := func(ctx context.Context) (bool, error) {
			conn, dialErr = dialer.DialContext(ctx, "tcp", address)
			return dialErr == nil, nil
		}
		if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startTimeout, true, dial); err != nil {
			return nil, fmt.Errorf("connect: %w, the last error is: %w", err, dialErr)
		}
		if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
			return nil, err
		}
		all = append(all, &connection{conn, bufio.NewReader(conn), requests})
	}
	return all, nil
}

// newRequest makes a request with the headers that the API server sends.
func newRequest(address string, n int) (request, error) {
	uid, body, err := newReview(n)
	head := fmt.Sprintf("POST %s?timeout=10s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-apiserver-admission\r\n"+
		"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
		server.ValidatePath, address, len(body))
	return request{append([]byte(head), body...), []byte(uid)}, err
}

// sendFor sends reviews over all connections, each as soon as the one before was answered, and returns how long each
// took. An answer that isn't "allowed" is an error.
func sendFor(all []*connection, duration time.Duration) ([]time.Duration, error) {
	end := time.Now().Add(duration)
	took := make([][]time.Duration, len(all))
	var group errgroup.Group
	for i, c := range all {
		group.Go(func() (err error) {
			for n := i * distinctReviews / len(all); err == nil; n++ {
				begun := time.Now()
				if begun.After(end) {
					return nil
				}
				err = c.exchange(&c.requests[n%len(c.requests)])
				took[i] = append(took[i], time.Since(begun))
			}
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(took...), err
}

func (c *connection) exchange(r *request) error {
	if _, err := c.Write(r.bytes); err != nil {
		return fmt.Errorf("send a review: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if !bytes.Contains(body, []byte(`"allowed":true`)) || !bytes.Contains(body, r.uid) {
		return fmt.Errorf("the answer to review %s is %s: %s", r.uid, response.Status, body)
	}
	return nil
}
