package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxSamples bounds the latencies that are kept of one connection.
const maxSamples = 1 << 18

// load is what one run of the load generator is told.
type load struct {
	// URL is where reviews go, and CAFile what the server is trusted by.
	URL    string `json:"url"`
	CAFile string `json:"caFile"`
	// Duration is how long they are sent.
	Duration time.Duration `json:"duration"`
	// Rate is how many are sent in a second, however long answers take; 0:
	// each connection sends one as soon as it has its answer.
	Rate float64 `json:"rate"`
	// CheckUID is false for a server that doesn't read it.
	CheckUID bool `json:"checkUID"`
}

// loadResult is what it measured.
type loadResult struct {
	Reviews  int           `json:"reviews"`
	Duration time.Duration `json:"duration"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
}

func (r loadResult) perSecond() float64 { return float64(r.Reviews) / r.Duration.Seconds() }

// generator puts loads on servers, one after the other, and keeps the
// connections to each.
type generator struct{ connections map[string][]*connection }

// serveLoads runs as a child: it runs each load that it reads, and writes what
// it measured, until there are no more.
func serveLoads(ctx context.Context, in io.Reader, out io.Writer) error {
	g := &generator{connections: map[string][]*connection{}}
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var l load
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what to do: %w", err)
		}
		r, err := g.run(ctx, &l)
		if err != nil {
			return err
		}
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
}

// run puts the load on the server. Any answer that isn't "allowed" ends it.
func (g *generator) run(ctx context.Context, l *load) (loadResult, error) {
	if g.connections[l.URL] == nil {
		connected, err := l.connect(ctx)
		if err != nil {
			return loadResult{}, err
		}
		g.connections[l.URL] = connected
	}
	all := g.connections[l.URL]
	begin := time.Now()
	end := begin.Add(l.Duration)
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, c := range all {
		wg.Go(func() { errs[i] = c.send(end, i, l) })
	}
	wg.Wait()
	return summarise(all, time.Since(begin)), errors.Join(errs...)
}

func summarise(connections []*connection, duration time.Duration) loadResult {
	r := loadResult{Duration: duration}
	var all []time.Duration
	for _, c := range connections {
		r.Reviews += c.answered
		all = append(all, c.took...)
	}
	r.P50, r.P99 = percentile(all, 50), percentile(all, 99)
	return r
}

// percentile sorts the samples and returns the one below which p in 100 lie.
func percentile(samples []time.Duration, p int) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	return samples[min(len(samples)*p/100, len(samples)-1)]
}

// connection is one keep-alive connection, as the API server holds several of.
type connection struct {
	conn     net.Conn
	reader   *bufio.Reader
	requests []request
	answered int
	took     []time.Duration
}

// request is a whole HTTP request, made ahead, and what must be in its answer.
type request struct{ bytes, uid []byte }

func (l *load) connect(ctx context.Context) ([]*connection, error) {
	target, err := url.Parse(l.URL)
	if err != nil {
		return nil, err
	}
	requests, err := newRequests(target, l.CheckUID)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(l.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, NextProtos: []string{"http/1.1"}}}
	var all []*connection
	for range connections {
		conn, err := dialer.DialContext(ctx, "tcp", target.Host)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		all = append(all, &connection{conn: conn, reader: bufio.NewReader(conn), requests: requests})
	}
	return all, nil
}

// newRequests makes the requests with the headers that the API server sends.
func newRequests(target *url.URL, checkUID bool) ([]request, error) {
	like, err := readPod()
	if err != nil {
		return nil, err
	}
	var requests []request
	for n := range distinctReviews {
		uid, body, err := newReview(like, n)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "POST %s?timeout=10s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-apiserver-admission\r\n"+
			"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
			target.Path, target.Host, len(body))
		b.Write(body)
		r := request{bytes: b.Bytes()}
		if checkUID {
			r.uid = []byte(uid)
		}
		requests = append(requests, r)
	}
	return requests, nil
}

// send sends one review after the other until the end.
func (c *connection) send(end time.Time, place int, l *load) error {
	c.answered, c.took = 0, c.took[:0]
	if err := c.conn.SetDeadline(end.Add(time.Minute)); err != nil {
		return err
	}
	interval := time.Duration(0)
	if l.Rate > 0 {
		interval = time.Duration(connections / l.Rate * float64(time.Second))
	}
	// Connections that send at a rate don't do so all at once.
	next := time.Now().Add(interval * time.Duration(place) / connections)
	for n := place * distinctReviews / connections; ; n++ {
		due := time.Now()
		if l.Rate > 0 {
			time.Sleep(time.Until(next))
			// An answer that comes late makes the next review late, which counts.
			due, next = next, next.Add(interval)
		}
		if due.After(end) {
			return nil
		}
		if err := c.exchange(&c.requests[n%len(c.requests)]); err != nil {
			return err
		}
		c.answered++
		if len(c.took) < maxSamples {
			c.took = append(c.took, time.Since(due))
		}
	}
}

func (c *connection) exchange(r *request) error {
	if _, err := c.conn.Write(r.bytes); err != nil {
		return fmt.Errorf("send a review: %w", err)
	}
	length, err := c.readHead()
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	body, err := c.reader.Peek(length)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if !bytes.Contains(body, []byte(`"allowed":true`)) || !bytes.Contains(body, r.uid) {
		return fmt.Errorf("the answer to review %s is %s", r.uid, body)
	}
	_, err = c.reader.Discard(length)
	return err
}

// readHead reads status line and headers and returns the body's length.
func (c *connection) readHead() (int, error) {
	status, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("status %q", status)
	}
	length := -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("the answer has no Content-Length")
	}
	return length, nil
}
