package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// blocked is a writer that takes nothing until it is released.
type blocked struct {
	release chan struct{}
	bytes.Buffer
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.release
	return b.Buffer.Write(p)
}

func TestALogThatNobodyReadsHoldsUpNothing(t *testing.T) { //nolint:paralleltest // it sets the default logger
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{release: make(chan struct{})}
		queue := newLogQueue(out)
		before := slog.Default()
		defer slog.SetDefault(before)
		slog.SetDefault(slog.New(slog.NewJSONHandler(queue, nil)))
		const each, lines = 100, 500
		var writers sync.WaitGroup
		for range each {
			writers.Go(func() {
				for n := range lines {
					slog.Info("denied", "n", n, "why", strings.Repeat("x", 100))
				}
			})
		}
		writers.Wait()
		if len(queue.queued) > maxQueuedLog {
			t.Errorf("%d bytes are queued, at most %d are allowed", len(queue.queued), maxQueuedLog)
		}
		close(out.release)
		queue.close()
		written := strings.Count(out.String(), `"msg":"denied"`)
		if want := fmt.Sprintf(`"lines":%d}`, each*lines-written); written == 0 || written == each*lines || !strings.Contains(out.String(), want) {
			t.Errorf("%d of %d lines were written, and the log doesn't say %s", written, each*lines, want)
		}
	})
}

func TestTheEndOfALogIsWritten(t *testing.T) {
	t.Parallel()
	for range 100 {
		var out bytes.Buffer
		queue := newLogQueue(&out)
		for n := range 10 {
			fmt.Fprintln(queue, n)
		}
		queue.close()
		if out.String() != "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n" {
			t.Fatalf("got %q", out.String())
		}
	}
}

func TestAnEndDoesNotWaitForWhoReadsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{release: make(chan struct{})}
		queue := newLogQueue(out)
		fmt.Fprintln(queue, "line")
		begun := time.Now()
		queue.close()
		if took := time.Since(begun); took != flushTimeout {
			t.Errorf("it took %s", took)
		}
		close(out.release)
	})
}
