package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// contender is one of the servers that are compared, in a process of its own, and the rounds measured.
type contender struct {
	name        string
	process     *exec.Cmd
	stdin       io.Closer
	connections []*connection
	rounds      []round
	reviews     int
}

// round is one measurement of one server.
type round struct{ perSecond, p50, p99 float64 }

func perSecond(r round) float64 { return r.perSecond }
func p50(r round) float64       { return r.p50 }
func p99(r round) float64       { return r.p99 }

// writeThroughput measures reviews a second and their latency over TLS.
func writeThroughput(ctx context.Context, w io.Writer, quick bool) error {
	rounds, duration := 40, 250*time.Millisecond
	if quick {
		rounds = 4
	}
	fmt.Fprintf(w, "TLS 1.3, HTTP/1.1 keep-alive, %d connections, pods of 3 containers with managedFields, warm, 10 policies that all match;\n"+
		"each server has one processor to itself, the load comes from another; %d rounds of %s, the servers by turns; medians of the rounds.\n\n",
		connections, rounds, duration)
	contenders, err := measureServers(ctx, rounds, duration, decodeServer, gateServer, typedServer)
	if err != nil {
		return err
	}
	throughputTable(contenders, contenders[2], contenders[0]).writeTo(w)
	return nil
}

// measureServers measures servers by turns, and ends them.
func measureServers(ctx context.Context, rounds int, duration time.Duration, names ...string) (contenders []*contender, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the servers have the other processor
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.stdin.Close(), c.process.Wait())
		}
	}()
	for _, name := range names {
		c, err := startContender(ctx, name)
		if err != nil {
			return contenders, fmt.Errorf("server %s: %w", name, err)
		}
		contenders = append(contenders, c)
	}
	for range rounds + 1 {
		for _, c := range contenders {
			if err := c.measure(duration); err != nil {
				return contenders, fmt.Errorf("server %s: %w", c.name, err)
			}
		}
	}
	for _, c := range contenders {
		c.rounds = c.rounds[1:] // the first one warms up
	}
	return contenders, nil
}

// startContender starts this program as one of the servers, with one processor for Go and, if the machine has several
// and taskset is there, kept to one of them.
func startContender(ctx context.Context, name string) (*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	command := []string{self, serveArgument, name, address}
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		command = append([]string{taskset, "-c", "1"}, command...)
	}
	c := &contender{name: name, process: exec.CommandContext(ctx, command[0], command[1:]...)} //nolint:gosec // this program itself
	c.process.Env, c.process.Stderr = append(os.Environ(), "GOMAXPROCS=1"), os.Stderr
	if c.stdin, err = c.process.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	if c.connections, err = connect(ctx, address); err != nil {
		return nil, errors.Join(err, c.stdin.Close(), c.process.Wait())
	}
	return c, nil
}

// measure adds a round.
func (c *contender) measure(duration time.Duration) error {
	begun := time.Now()
	took, err := sendFor(c.connections, duration)
	if err != nil {
		return err
	}
	if len(took) == 0 {
		return fmt.Errorf("no review was answered in %s", duration)
	}
	c.reviews += len(took)
	c.rounds = append(c.rounds, round{
		float64(len(took)) / time.Since(begun).Seconds(), percentile(took, 50).Seconds(), percentile(took, 99).Seconds(),
	})
	return nil
}

// cpuPerReview returns the time that the server, which has ended, has spent on a processor for a review, its start included.
func (c *contender) cpuPerReview() time.Duration {
	return (c.process.ProcessState.UserTime() + c.process.ProcessState.SystemTime()) / time.Duration(c.reviews)
}

// over returns the median of a figure over the rounds.
func (c *contender) over(figure func(round) float64) float64 {
	return median(len(c.rounds), func(i int) float64 { return figure(c.rounds[i]) })
}

// relative returns the median of a figure's ratio to another server's in the same round.
func (c *contender) relative(to *contender, figure func(round) float64) float64 {
	return median(len(c.rounds), func(i int) float64 { return figure(c.rounds[i]) / figure(to.rounds[i]) })
}

func throughputTable(contenders []*contender, typed, bare *contender) *table {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	t := newTable("server", "× typed", "× bare decode", "reviews/s", "p50", "p99", "p99 ÷ typed", "server CPU/review", "CPU ÷ bare decode")
	for _, c := range contenders {
		t.add(c.name, c.relative(typed, perSecond), c.relative(bare, perSecond), c.over(perSecond),
			seconds(c.over(p50)), seconds(c.over(p99)), c.relative(typed, p99),
			c.cpuPerReview(), c.cpuPerReview().Seconds()/bare.cpuPerReview().Seconds())
	}
	return t
}
