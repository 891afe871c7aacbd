package main

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxQueuedLog bounds what is logged and not written yet, in bytes.
	maxQueuedLog = 1 << 20
	// flushTimeout is how long an end waits for a log that is not read.
	flushTimeout = 2 * time.Second
)

// logQueue writes a log in the background: nothing that is logged waits for
// whoever reads it. Past its bound, lines are dropped and counted.
type logQueue struct {
	w io.Writer

	mu      sync.Mutex
	queued  []byte
	dropped int
	closed  bool
	wake    chan struct{} // holds one: there is something to write
	ended   chan struct{}
}

// newLogQueue returns a queue to w, to be closed.
func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{w: w, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.run()
	return q
}

// Write queues a line.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if len(q.queued)+len(line) > maxQueuedLog {
		q.dropped++
	} else {
		q.queued = append(q.queued, line...)
	}
	q.mu.Unlock()
	q.notify()
	return len(line), nil
}

func (q *logQueue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *logQueue) run() {
	defer close(q.ended)
	for range q.wake {
		lines, dropped, closed := q.take()
		_, _ = q.w.Write(lines) // there is nowhere to say that it failed
		if dropped > 0 {
			slog.Warn("log lines were dropped, since the log was not read in time", "lines", dropped)
			q.notify()
		} else if closed {
			return
		}
	}
}

func (q *logQueue) take() (lines []byte, dropped int, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, dropped = q.queued, q.dropped
	q.queued, q.dropped = nil, 0
	return lines, dropped, q.closed
}

// close writes what is queued, unless nobody reads it.
func (q *logQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.notify()
	select {
	case <-q.ended:
	case <-time.After(flushTimeout):
	}
}
