package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// connections is how many the load is spread over.
const connections = 16

// contender is one server and what was measured of it, round by round.
type contender struct {
	kind, url, caFile string
	child             *child
	free, paced       []round
}

// round is one measurement of one server.
type round struct {
	loadResult
	// per review of the server: time on the processor and allocations.
	cpu    time.Duration
	allocs float64
}

// measureThroughput is (a): reviews a second and their latency over TLS.
func measureThroughput(ctx context.Context, b *bench) (err error) {
	rounds, duration := 40, 250*time.Millisecond
	if b.quick {
		rounds = 4
	}
	like, err := readPod()
	if err != nil {
		return err
	}
	_, body, err := newReview(like, 0)
	if err != nil {
		return err
	}
	b.printf("TLS 1.3, HTTP/1.1 keep-alive, %d connections, reviews of %d bytes (3 containers, managedFields), warm, 10 policies that all match;\n"+
		"each server has one processor to itself, the load comes from another; %d rounds of %s, the servers by turns; medians of the rounds.\n\n", connections, len(body), rounds, duration)
	contenders, err := b.startContenders(ctx)
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.child.stop())
		}
	}()
	if err != nil {
		return err
	}
	generator, err := b.startSelf(ctx, 0, childLoad)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, generator.stop()) }()
	for n := range rounds + 1 {
		if err := oneRound(contenders, generator, duration); err != nil {
			return err
		}
		if n == 0 { // the first one warms up
			for _, c := range contenders {
				c.free, c.paced = nil, nil
			}
		}
	}
	printThroughput(b, contenders)
	return nil
}

func (b *bench) startContenders(ctx context.Context) (contenders []*contender, err error) {
	for _, kind := range []string{serverDiscard, serverDecode, serverGate, serverTyped} {
		c, err := b.startContender(ctx, kind)
		if err != nil {
			return contenders, err
		}
		contenders = append(contenders, c)
	}
	return contenders, nil
}

func (b *bench) startContender(ctx context.Context, kind string) (*contender, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := b.newDir(kind)
	if err != nil {
		return nil, err
	}
	c := &contender{kind: kind, url: serverURL(address), caFile: filepath.Join(dir, "ca.crt")}
	c.child, err = b.startSelf(ctx, 1, childServe, kind, address, c.caFile, dir)
	if err != nil {
		return nil, err
	}
	if err := awaitListener(ctx, address); err != nil {
		return nil, errors.Join(fmt.Errorf("server %s: %w", kind, err), c.child.stop())
	}
	return c, nil
}

// oneRound measures every server, first as fast as it can, then all at the rate
// at which the slowest is busy for two thirds of its time.
func oneRound(contenders []*contender, generator *child, duration time.Duration) error {
	slowest := 0.0
	for _, c := range contenders {
		r, err := c.measure(generator, duration, 0)
		if err != nil {
			return err
		}
		c.free = append(c.free, r)
		if slowest == 0 || r.perSecond() < slowest {
			slowest = r.perSecond()
		}
	}
	for _, c := range contenders {
		r, err := c.measure(generator, duration, slowest*2/3)
		if err != nil {
			return err
		}
		c.paced = append(c.paced, r)
	}
	return nil
}

func (c *contender) measure(generator *child, duration time.Duration, rate float64) (r round, err error) {
	before, err := c.child.usage()
	if err != nil {
		return round{}, err
	}
	if err := generator.write(load{URL: c.url, CAFile: c.caFile, Duration: duration, Rate: rate, CheckUID: c.kind != serverDiscard}); err != nil {
		return round{}, err
	}
	if err := generator.read(&r.loadResult); err != nil {
		return round{}, err
	}
	after, err := c.child.usage()
	if err != nil {
		return round{}, err
	}
	if r.Reviews == 0 {
		return round{}, fmt.Errorf("server %s: no review was answered in %s", c.kind, duration)
	}
	r.cpu = (after.CPU - before.CPU) / time.Duration(r.Reviews)
	r.allocs = float64(after.Mallocs-before.Mallocs) / float64(r.Reviews)
	return r, nil
}

// over is the median of a figure over the rounds, and relative that of its
// ratio to another server's in the same round.
func over(rounds []round, figure func(round) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = figure(r)
	}
	return median(values)
}

func relative(rounds, to []round, figure func(round) float64) float64 {
	ratios := make([]float64, len(rounds))
	for i := range rounds {
		ratios[i] = figure(rounds[i]) / figure(to[i])
	}
	return median(ratios)
}

func printThroughput(b *bench, contenders []*contender) {
	perSecond := func(r round) float64 { return r.perSecond() }
	p50 := func(r round) float64 { return r.P50.Seconds() }
	p99 := func(r round) float64 { return r.P99.Seconds() }
	cpu := func(r round) float64 { return r.cpu.Seconds() }
	allocs := func(r round) float64 { return r.allocs }
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	bare, typed := contenders[1], contenders[3]
	t := newTable("as fast as they can", "× typed", "× bare decode", "reviews/s", "p50", "p99", "p99 ÷ typed", "server CPU/review", "CPU ÷ bare decode", "allocations/review")
	for _, c := range contenders {
		t.add(describe(c.kind), relative(c.free, typed.free, perSecond), relative(c.free, bare.free, perSecond), over(c.free, perSecond),
			seconds(over(c.free, p50)), seconds(over(c.free, p99)), relative(c.free, typed.free, p99),
			seconds(over(c.free, cpu)), relative(c.free, bare.free, cpu), over(c.free, allocs))
	}
	t.print(b.out)
	t = newTable("all at one rate", "reviews/s", "p50", "p99", "p99 ÷ typed", "server CPU/review", "CPU ÷ typed")
	for _, c := range contenders {
		t.add(describe(c.kind), over(c.paced, perSecond), seconds(over(c.paced, p50)), seconds(over(c.paced, p99)),
			relative(c.paced, typed.paced, p99), seconds(over(c.paced, cpu)), relative(c.paced, typed.paced, cpu))
	}
	t.print(b.out)
}

func describe(kind string) string {
	switch kind {
	case askNobody:
		return "nobody"
	case serverDiscard:
		return "body discarded"
	case serverDecode:
		return "bare decode"
	case serverTyped:
		return "controller-runtime, typed no-op"
	}
	return kind
}
