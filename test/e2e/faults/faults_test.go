package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// fault is something that goes wrong between hssgate and HSS.
type fault struct {
	begin, end func(t *testing.T, w *world)
	// harmless says that HSS can still be asked, if slowly, or that what is wrong
	// is each answer for itself: HSS goes on being asked.
	harmless bool
	// lasts says that hssgate notices the end only after minutes.
	lasts bool
}

// toxic is a fault of the network.
func toxic(kind, attributes string, harmless bool) fault {
	return fault{
		begin: func(t *testing.T, w *world) {
			t.Helper()
			_, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"name":"fault","type":%q,"stream":"downstream","attributes":%s}`, kind, attributes)))
			if err != nil {
				t.Fatal(err)
			}
		},
		end: func(t *testing.T, w *world) {
			t.Helper()
			w.proxy.Toxics.ResetToxics(context.WithoutCancel(t.Context()))
		},
		harmless: harmless,
	}
}

// answers is a fault of HSS itself.
func answers(f hsstest.Fault) fault {
	return fault{
		begin: func(_ *testing.T, w *world) { w.hss.Inject(f.Times(0)) },
		end:   func(_ *testing.T, w *world) { w.hss.ClearFaults() },
	}
}

func asking(f fault) fault {
	f.harmless = true
	return f
}

func lasting(f fault) fault {
	f.lasts = true
	return f
}

// enable switches the proxy on or off.
func enable(on bool) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		t.Helper()
		if err := w.proxy.Update(&toxiproxy.Proxy{Listen: w.proxy.Listen, Upstream: w.proxy.Upstream, Enabled: on}); err != nil {
			t.Fatal(err)
		}
	}
}

func faults() map[string]fault {
	return map[string]fault{
		"latency":                    toxic("latency", `{"latency":200,"jitter":150}`, true),
		"latency past the timeout":   toxic("latency", `{"latency":3000}`, false),
		"connections that are reset": toxic("reset_peer", `{"timeout":0}`, false),
		"answers that are cut off":   toxic("limit_data", `{"bytes":300}`, false),
		"answers in small pieces":    toxic("slicer", `{"average_size":40,"size_variation":20,"delay":500}`, true),
		"answers that never come":    toxic("timeout", `{"timeout":0}`, false),
		"answers in drips":           answers(hsstest.SlowFault(20, 100*time.Millisecond)),
		"nobody listens":             {begin: enable(false), end: enable(true)},
		"a burst of 500":             answers(hsstest.StatusFault(http.StatusInternalServerError)),
		"a burst of 503":             answers(hsstest.StatusFault(http.StatusServiceUnavailable)),
		"429 without Retry-After":    answers(hsstest.ThrottleFault("")),
		"429 with Retry-After":       answers(hsstest.ThrottleFault("2")),
		"wrong JSON":                 answers(hsstest.GarbageFault()),
		"an empty 200":               answers(hsstest.EmptyFault()),
		"a 200 without a list":       answers(hsstest.NoDataListFault()),
		"an error sent as a 200":     asking(answers(hsstest.ErrorFault(http.StatusOK, "HSS.0010", "access denied"))),
		"a page for people":          answers(hsstest.HTMLFault(http.StatusBadGateway)),
		"refused credentials":        lasting(answers(hsstest.StatusFault(http.StatusUnauthorized))),
	}
}

// faultTime is how long things go wrong.
const faultTime = 900 * time.Millisecond

// TestFaults can't run beside others, which would count as leaks.
func TestFaults(t *testing.T) { //nolint:paralleltest // see above
	for name, f := range faults() {
		t.Run(name, func(t *testing.T) {
			goroutines, memory := ours(), heap()
			w := newWorld(t)
			w.warm(t)
			w.hss.ResetStats()
			f.begin(t, w)
			began := time.Now()
			asked, unknown := w.load(t, faultTime, true)
			// A busy machine may have asked about nothing that isn't known.
			for unknown == 0 && !f.harmless && time.Since(began) < time.Minute {
				more, without := w.load(t, faultTime, true)
				asked, unknown = asked+more, unknown+without
			}
			calls, took := w.hss.Stats().Requests, time.Since(began)
			w.withinBudget(t, calls, took)
			if !f.harmless {
				w.hardlyAsked(t)
			}
			f.end(t, w)
			t.Logf("%d answers, %d of them unavailable, HSS was asked %d times in %s", asked, unknown, calls, took.Round(time.Millisecond))
			if unknown == 0 && !f.harmless {
				t.Error("nothing was unavailable: the fault did no harm")
			}
			if !f.lasts {
				w.recover(t)
			}
			w.end()
			settled(t, goroutines, memory)
		})
	}
}

// TestAnOutageOfAnHourUnderLoad puts the clock forward.
func TestAnOutageOfAnHourUnderLoad(t *testing.T) { //nolint:paralleltest // it counts goroutines
	goroutines, memory := ours(), heap()
	w := newWorld(t)
	w.warm(t)
	enable(false)(t, w)
	for range 6 {
		w.load(t, 200*time.Millisecond, true)
		w.clock.by.Add(int64(10 * time.Minute))
	}
	w.load(t, 200*time.Millisecond, true)
	if got, message := w.ask(t, 0); got != admitted || !strings.Contains(message, "1h0m") {
		t.Errorf("after an hour image 0 is %s, and nobody says how old that is: %s", got, message)
	}
	enable(true)(t, w)
	w.recover(t)

	enable(false)(t, w)
	w.clock.by.Add(int64(3 * time.Hour))
	for n := range images {
		if got, message := w.ask(t, n); got != unavailable {
			t.Errorf("past its staleness image %d is %s: %s", n, got, message)
		}
	}
	enable(true)(t, w)
	w.recover(t)
	w.end()
	settled(t, goroutines, memory)
}

// TestAClockThatIsWrong has HSS refuse signatures whose date is not its own.
func TestAClockThatIsWrong(t *testing.T) { //nolint:paralleltest // it counts goroutines
	goroutines, memory := ours(), heap()
	w := newWorld(t)
	w.warm(t)
	w.hss.ResetStats()
	w.skew.Store(int64(20 * time.Minute))
	for began := time.Now(); ; {
		if _, unknown := w.load(t, faultTime, true); unknown > 0 {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("nothing was unavailable")
		}
	}
	// What was under way can't be called back.
	if stats := w.hss.Stats(); stats.Requests > 16 { // the calls at one time
		t.Errorf("HSS refused %d signatures", stats.Requests)
	}
	w.end()
	settled(t, goroutines, memory)
}

// TestAHostWithoutAddress has the name of HSS's host resolve to nothing.
func TestAHostWithoutAddress(t *testing.T) { //nolint:paralleltest // it counts goroutines
	goroutines, memory := ours(), heap()
	w := newWorld(t, func(w *world) { w.endpoint = "https://hss.invalid" })
	for n := range 10 {
		if got, message := w.ask(t, n); got != unavailable || !strings.Contains(message, "HSS ") {
			t.Errorf("image %d is %s: %s", n, got, message)
		}
	}
	if n := w.hss.Stats().Requests; n > 0 {
		t.Errorf("HSS was asked %d times", n)
	}
	w.end()
	settled(t, goroutines, memory)
}

// warm has hssgate ask for the images that are to be known.
func (w *world) warm(t *testing.T) {
	t.Helper()
	for n := range known {
		w.await(t, n)
	}
}

// await asks until the verdict is what it should be. Until then only that HSS
// is unreachable is right.
func (w *world) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got, message := w.ask(t, n)
		if got == want(n) {
			return
		}
		if got != unavailable || time.Now().After(deadline) {
			t.Fatalf("image %d is %s, want %s: %s", n, got, want(n), message)
		}
		time.Sleep(5 * time.Millisecond)
		// Pauses after failures are minutes long; none of them is slept.
		w.clock.by.Add(int64(500 * time.Millisecond))
	}
}

// withinBudget checks that HSS was asked no more often than the project allows.
func (w *world) withinBudget(t *testing.T, calls int, took time.Duration) {
	t.Helper()
	p := w.config.Projects[0]
	if most := int(p.RequestsPerSecond * (took + 3*time.Second).Seconds()); calls > most { // up to two seconds' calls at once
		t.Errorf("HSS was asked %d times in %s, want at most %d", calls, took, most)
	}
}

// hardlyAsked checks that HSS is only tried now and then while it fails, once so
// many calls have failed that hssgate knows.
func (w *world) hardlyAsked(t *testing.T) {
	t.Helper()
	const most = 10 // one look-up has several attempts
	var calls int
	for range 10 {
		before := w.hss.Stats().Requests
		w.load(t, faultTime/3, true)
		if calls = w.hss.Stats().Requests - before; calls <= most {
			return
		}
	}
	t.Errorf("HSS was asked %d times more while it went on failing, want at most %d", calls, most)
}

// recover checks that all is as before, soon after the end of a fault.
func (w *world) recover(t *testing.T) {
	t.Helper()
	for n := range images {
		w.await(t, n)
	}
	w.load(t, 200*time.Millisecond, false)
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// ours counts the goroutines that aren't the proxy's own: it leaves some of them
// behind when connections are cut.
func ours() int {
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if !strings.Contains(stack, "github.com/Shopify/toxiproxy/") {
			n++
		}
	}
	return n
}

// settled waits until there are no more goroutines than before, and no more
// memory is in use.
func settled(t *testing.T, goroutines int, memory uint64) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	deadline := time.Now().Add(30 * time.Second)
	n := ours()
	for ; n > goroutines && time.Now().Before(deadline); n = ours() {
		time.Sleep(5 * time.Millisecond)
	}
	if n > goroutines {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines more than before:\n%s", n-goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	const slack = 4 << 20
	if now := heap(); now > memory+slack {
		t.Errorf("%d KiB are in use, %d KiB were before", now>>10, memory>>10)
	}
}
