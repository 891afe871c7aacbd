package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/server"
	"github.com/hssgate/hssgate/webhook"
)

// Of the admissions of an outage, one in newImageEvery has an image that nobody
// asked for before.
const (
	outageRate    = 100 // a second
	newImageEvery = 25
)

// outage is one thing that is wrong with HSS.
type outage struct {
	name  string
	stale bool
	begin func(*hsstest.Server)
}

func outages() []outage {
	slow := func(d time.Duration) func(*hsstest.Server) { return func(s *hsstest.Server) { s.SetLatency(d) } }
	wrong := func(f hsstest.Fault) func(*hsstest.Server) { return func(s *hsstest.Server) { s.Inject(f.Times(0)) } }
	return []outage{
		{"HSS well, images fresh", false, slow(20 * time.Millisecond)},
		{"HSS well (20 ms)", true, slow(20 * time.Millisecond)},
		{"HSS takes 1 s", true, slow(time.Second)},
		{"HSS takes 5 s", true, slow(5 * time.Second)},
		{"HSS hangs", true, wrong(hsstest.HangFault())},
		{"HSS answers 503", true, wrong(hsstest.StatusFault(http.StatusServiceUnavailable))},
		{"HSS answers 429, no Retry-After", true, wrong(hsstest.ThrottleFault(""))},
		{"HSS resets connections", true, wrong(hsstest.ResetFault())},
	}
}

// shifted is a clock that can be put forward.
type shifted struct {
	clock.RealClock
	by atomic.Int64
}

// Now returns the time.
func (c *shifted) Now() time.Time { return c.RealClock.Now().Add(time.Duration(c.by.Load())) }

// Since returns the time since t.
func (c *shifted) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// measureOutage is (g): what admissions see of HSS being slow or dead.
func measureOutage(ctx context.Context, b *bench) error {
	admissions := 1000
	if b.quick {
		admissions = 200
	}
	b.printf("hssgate's handler with the default configuration, timeout=10s, %d admissions at %d a second. Each pod has 3 of %d known images, which have\n"+
		"just become too old to be fresh unless said otherwise; every %dth pod has an image besides that nobody asked for before.\n\n",
		admissions, outageRate, knownImages, newImageEvery)
	t := newTable("what is wrong", "known: p50", "known: p99", "known: admitted", "new image: p50", "new image: p99", "new image: admitted", "HSS calls/1,000 admissions")
	for _, o := range outages() {
		if err := o.addTo(ctx, b, t, admissions); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	t.print(b.out)
	return nil
}

// ordeal is an outage under way.
type ordeal struct {
	handler http.Handler
	hss     *hsstest.Server
	known   *inventory.Inventory
	bodies  [][]byte
}

// admissionsOf are what was measured of one kind of pods.
type admissionsOf struct {
	took     []time.Duration
	admitted int
}

func (o *outage) addTo(ctx context.Context, b *bench, t *table, admissions int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run, err := o.prepare(ctx, b, admissions)
	if err != nil {
		return err
	}
	defer run.hss.Close()
	defer run.known.Close()
	o.begin(run.hss)
	run.hss.ResetStats()
	known, fresh, err := run.admit(ctx)
	if err != nil {
		return err
	}
	calls := run.hss.Stats().Requests
	t.add(o.name, percentile(known.took, 50), percentile(known.took, 99), share(known), percentile(fresh.took, 50), percentile(fresh.took, 99), share(fresh),
		fmt.Sprint(calls*1000/admissions))
	return nil
}

func share(a admissionsOf) string {
	return fmt.Sprintf("%d %%", a.admitted*100/max(1, len(a.took)))
}

func (o *outage) prepare(ctx context.Context, b *bench, admissions int) (*ordeal, error) {
	run := &ordeal{hss: hsstest.NewServer(hsstest.WithImages(imageRows(knownImages + admissions)...))} //nolint:contextcheck // closing it is what ends it
	dir, err := b.newDir("outage")
	if err != nil {
		return nil, err
	}
	configuration, err := newConfiguration(run.hss.URL, dir)
	if err != nil {
		return nil, err
	}
	clk := &shifted{}
	if run.known, err = newInventory(configuration, clk); err != nil {
		return nil, err
	}
	if err := warm(ctx, run.known, knownImages); err != nil {
		return nil, err
	}
	go func() { _ = run.known.Start(ctx) }() // it ends with ctx
	if o.stale {
		clk.by.Store(int64(configuration.Cache.FreshFor) + int64(time.Second))
	}
	decider, err := newGate(run.known, clk, 10, 0)
	if err != nil {
		return nil, err
	}
	run.handler = server.NewHandler(configuration, server.Reviews{
		Decider: decider, Metrics: webhook.NewMetrics(newRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	run.bodies, err = outageReviews(admissions)
	return run, err
}

// outageReviews are reviews of which some name an image that isn't known.
func outageReviews(n int) ([][]byte, error) {
	like, err := readPod()
	if err != nil {
		return nil, err
	}
	bodies := make([][]byte, n)
	for i := range bodies {
		if _, bodies[i], err = newReview(like, i); err != nil {
			return nil, err
		}
		if hasNewImage(i) {
			known := imageName((3*i + 1) % knownImages)
			bodies[i] = bytes.Replace(bodies[i], []byte(`"`+known+`"`), []byte(`"`+imageName(knownImages+i)+`"`), 1)
		}
	}
	return bodies, nil
}

func hasNewImage(n int) bool { return n%newImageEvery == newImageEvery-1 }

// admit sends every review when it is due, and waits for all answers.
func (run *ordeal) admit(ctx context.Context) (known, fresh admissionsOf, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	begun := time.Now()
	for n, body := range run.bodies {
		due := begun.Add(time.Duration(n) * time.Second / outageRate)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			admitted, reviewErr := review(ctx, run.handler, body)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			of := &known
			if hasNewImage(n) {
				of = &fresh
			}
			of.took = append(of.took, took)
			if admitted {
				of.admitted++
			}
			if reviewErr != nil {
				err = reviewErr
			}
		})
	}
	wg.Wait()
	return known, fresh, err
}

// recorder keeps an answer.
type recorder struct {
	bytes.Buffer
	header http.Header
}

// Header returns the headers.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader forgets the status, which the answer tells in its own way.
func (*recorder) WriteHeader(int) {}

// review has the handler answer a review.
func review(ctx context.Context, handler http.Handler, body []byte) (admitted bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.ValidatePath+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r := &recorder{header: http.Header{}}
	handler.ServeHTTP(r, request)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(r.Bytes(), &answer); err != nil {
		return false, fmt.Errorf("read an answer: %w", err)
	}
	return answer.Response.Allowed, nil
}
